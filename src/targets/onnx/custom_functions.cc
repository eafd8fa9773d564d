#include "targets/onnx/custom_functions.h"

#include <onnx/onnx_pb.h>

#include "base/check.h"
#include "targets/onnx/graph_builder.h"

namespace expertile::onnx_target {
namespace {

// The body of a function, node by node.
class FunctionBody {
 public:
  FunctionBody(const std::string& name, const Inputs& inputs, ::onnx::ModelProto& model)
      : function_(model.add_functions()) {
    function_->set_name(name);
    function_->set_domain(DomainOf(name));
    for (const std::string& input : inputs) function_->add_input(input);
    ImportOpset("", kOpset, *function_);
  }

  std::string Node(const std::string& op, const Inputs& inputs, const Attributes& attributes = {}) {
    return Named(op + "_" + std::to_string(function_->node_size()), op, inputs, attributes);
  }
  std::string Ints(const std::vector<int64_t>& values) {
    auto* node = function_->add_node();
    const std::string name = "Constant_" + std::to_string(function_->node_size());
    node->set_op_type("Constant");
    node->add_output(name);
    SetAttribute({"value_ints", values}, node);
    return name;
  }
  void Return(const std::string& op, const Inputs& inputs, const Attributes& attributes = {}) {
    function_->add_output("output");
    Named("output", op, inputs, attributes);
  }

  // The function's attribute as a value.
  std::string FloatAttribute(const std::string& attribute) {
    function_->add_attribute(attribute);
    auto* node = function_->add_node();
    node->set_op_type("Constant");
    node->add_output(attribute + "_value");
    auto* value = node->add_attribute();
    value->set_name("value_float");
    value->set_ref_attr_name(attribute);
    value->set_type(::onnx::AttributeProto::FLOAT);
    return attribute + "_value";
  }

  // Size `axis` of `value` as int64 [1].
  std::string Size(const std::string& value, int64_t axis) {
    return Node("Slice", {Node("Shape", {value}), Ints({axis}), Ints({axis + 1})});
  }
  // 0, 1, … below size `axis` of `value`, int64.
  std::string Range(const std::string& value, int64_t axis) {
    const std::string axes = Ints({0});
    const std::string zero = Node("Squeeze", {Ints({0}), axes});
    const std::string one = Node("Squeeze", {Ints({1}), axes});
    return Node("Range", {zero, Node("Squeeze", {Size(value, axis), axes}), one});
  }

 private:
  std::string Named(const std::string& name, const std::string& op, const Inputs& inputs,
                    const Attributes& attributes) {
    auto* node = function_->add_node();
    node->set_name(name);
    node->set_op_type(op);
    for (const std::string& input : inputs) node->add_input(input);
    for (const Attribute& attribute : attributes) SetAttribute(attribute, node);
    node->add_output(name);
    return name;
  }

  ::onnx::FunctionProto* function_;
};

// positions [B,S] -> ScatterND indices [B,S,2].
void AddScatter3D(const std::string& name, ::onnx::ModelProto& model) {
  FunctionBody body(name, {"data", "position_ids", "updates"}, model);
  const std::string positions =
      body.Node("Cast", {"position_ids"}, {{"to", int64_t{::onnx::TensorProto::INT64}}});
  const std::string batch =
      body.Node("Expand", {body.Node("Unsqueeze", {body.Range("data", 0), body.Ints({1})}),
                           body.Node("Shape", {positions})});
  const std::string indices = body.Node("Concat",
                                        {body.Node("Unsqueeze", {batch, body.Ints({2})}),
                                         body.Node("Unsqueeze", {positions, body.Ints({2})})},
                                        {{"axis", int64_t{2}}});
  body.Return("ScatterND", {"data", indices, "updates"});
}

void AddGather3D(::onnx::ModelProto& model) {
  FunctionBody body("CtxGather3D", {"data", "ctx_indices"}, model);
  const std::string indices =
      body.Node("Cast", {"ctx_indices"}, {{"to", int64_t{::onnx::TensorProto::INT64}}});
  const std::string shape =
      body.Node("Concat", {body.Size("data", 0), body.Size(indices, 1)}, {{"axis", int64_t{0}}});
  const std::string expanded = body.Node("Expand", {indices, shape});
  body.Return("GatherND", {"data", body.Node("Unsqueeze", {expanded, body.Ints({2})})},
              {{"batch_dims", int64_t{1}}});
}

// positions [B,S] -> ScatterND indices [B,H,S,3].
void AddScatter(::onnx::ModelProto& model) {
  FunctionBody body("CtxScatter", {"data", "position_ids", "updates"}, model);
  const std::string shape = body.Node(
      "Concat", {body.Size("data", 0), body.Size("data", 1), body.Size("position_ids", 1)},
      {{"axis", int64_t{0}}});
  const auto index = [&](const std::string& values, const std::vector<int64_t>& axes) {
    const std::string whole =
        body.Node("Expand", {body.Node("Unsqueeze", {values, body.Ints(axes)}), shape});
    return body.Node("Unsqueeze", {whole, body.Ints({3})});
  };
  const std::string indices =
      body.Node("Concat",
                {index(body.Range("data", 0), {1, 2}), index(body.Range("data", 1), {0, 2}),
                 index("position_ids", {1})},
                {{"axis", int64_t{3}}});
  body.Return("ScatterND", {"data", indices, "updates"});
}

void AddRmsNorm(::onnx::ModelProto& model) {
  FunctionBody body("CustomRMSNorm", {"hidden_states", "weight"}, model);
  const std::string mean =
      body.Node("ReduceMean", {body.Node("Mul", {"hidden_states", "hidden_states"})},
                {{"axes", std::vector<int64_t>{-1}}, {"keepdims", int64_t{1}}});
  const std::string root =
      body.Node("Sqrt", {body.Node("Add", {mean, body.FloatAttribute("epsilon")})});
  body.Return("Mul", {body.Node("Div", {"hidden_states", root}), "weight"});
}

}  // namespace

void AddFunction(const std::string& op, ::onnx::ModelProto& model) {
  if (op == "CtxGather3D") return AddGather3D(model);
  if (op == "CtxScatter") return AddScatter(model);
  if (op == "CustomRMSNorm") return AddRmsNorm(model);
  EXPERTILE_DCHECK(op == "CtxScatter3D" || op == "CtxScatter3DInt");
  AddScatter3D(op, model);
}

}  // namespace expertile::onnx_target
