#include "targets/onnx/layer_functions.h"

#include <onnx/onnx_pb.h>

#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "targets/onnx/custom_functions.h"

namespace expertile::onnx_target {
namespace {

using Constants = std::unordered_map<std::string, const ::onnx::TensorProto*>;

// NAME without what tells one layer from another: "layers.3.router" is "router", "past_key.3" is
// "past_key"; empty for the value of a node.
std::string NameInAnyLayer(const std::string& name, int layer) {
  const std::string prefix = "layers." + std::to_string(layer) + ".";
  if (name.starts_with(prefix)) return name.substr(prefix.size());
  const std::string suffix = "." + std::to_string(layer);
  if (name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  return name.starts_with('/') ? "" : name;
}

// The body of one layer's function, and what a call of it passes and gets.
struct LayerFunction {
  ::onnx::FunctionProto function;  // without its name
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
};

class LayerFunctionMaker {
 public:
  LayerFunctionMaker(const ::onnx::GraphProto& graph, const NodeRange& range,
                     const Constants& constants, const std::unordered_set<std::string>& escaping)
      : graph_(graph), range_(range), constants_(constants), escaping_(escaping) {}

  LayerFunction Make() {
    layer_.function.set_domain(kLayerDomain);
    std::set<std::string> domains = {""};
    for (int i = range_.begin; i < range_.end; ++i) {
      ::onnx::NodeProto node = graph_.node(i);
      domains.insert(node.domain());
      for (std::string& input : *node.mutable_input()) input = NameOfInput(input);
      NameOutputs(node, i - range_.begin);
      body_.push_back(std::move(node));
    }
    for (::onnx::NodeProto& node : body_) *layer_.function.add_node() = std::move(node);
    for (const std::string& domain : domains) {
      ImportOpset(domain, domain.empty() ? kOpset : 1, layer_.function);
    }
    return std::move(layer_);
  }

 private:
  std::string NameOfInput(const std::string& value) {
    const auto known = names_.find(value);
    if (known != names_.end()) return known->second;
    if (const auto constant = constants_.find(value); constant != constants_.end()) {
      AddConstant(*constant->second);
      return names_[value] = value;
    }
    std::string name = NameInAnyLayer(value, range_.index);
    if (name.empty()) name = "input_" + std::to_string(layer_.inputs.size());
    layer_.function.add_input(name);
    layer_.inputs.push_back(value);
    return names_[value] = name;
  }

  void NameOutputs(::onnx::NodeProto& node, int index) {
    const std::string name = node.op_type() + "_" + std::to_string(index);
    node.set_name(name);
    for (int k = 0; k < node.output_size(); ++k) {
      std::string& output = *node.mutable_output(k);
      const std::string inner = k == 0 ? name : name + "_" + std::to_string(k);
      names_[output] = inner;
      if (escaping_.contains(output)) {
        layer_.function.add_output(inner);
        layer_.outputs.push_back(output);
      }
      output = inner;
    }
  }

  void AddConstant(const ::onnx::TensorProto& tensor) {
    auto* node = layer_.function.add_node();
    node->set_name(tensor.name());
    node->set_op_type("Constant");
    node->add_output(tensor.name());
    auto* value = node->add_attribute();
    value->set_name("value");
    value->set_type(::onnx::AttributeProto::TENSOR);
    *value->mutable_t() = tensor;
  }

  const ::onnx::GraphProto& graph_;
  const NodeRange& range_;
  const Constants& constants_;
  const std::unordered_set<std::string>& escaping_;
  LayerFunction layer_;
  std::vector<::onnx::NodeProto> body_;  // after the constants
  std::unordered_map<std::string, std::string> names_;
};

// Values made in a layer that nodes outside it, or the graph's outputs, use.
std::unordered_set<std::string> EscapingValues(const ::onnx::GraphProto& graph,
                                               std::span<const NodeRange> layers) {
  std::unordered_map<std::string, const NodeRange*> makers;
  const auto visit = [&](auto work) {
    size_t next = 0;
    for (int i = 0; i < graph.node_size(); ++i) {
      if (next < layers.size() && i == layers[next].end) ++next;
      const bool inside = next < layers.size() && i >= layers[next].begin;
      work(graph.node(i), inside ? &layers[next] : nullptr);
    }
  };
  visit([&](const ::onnx::NodeProto& node, const NodeRange* range) {
    for (const std::string& output : node.output()) makers[output] = range;
  });
  std::unordered_set<std::string> escaping;
  const auto use = [&](const std::string& value, const NodeRange* range) {
    const auto maker = makers.find(value);
    const bool is_of_layer = maker != makers.end() && maker->second != nullptr;
    if (is_of_layer && maker->second != range) escaping.insert(value);
  };
  visit([&](const ::onnx::NodeProto& node, const NodeRange* range) {
    for (const std::string& input : node.input()) use(input, range);
  });
  for (const auto& output : graph.output()) use(output.name(), nullptr);
  return escaping;
}

// Every distinct body once.
class FunctionSet {
 public:
  FunctionSet(std::string name, ::onnx::ModelProto& model)
      : name_(std::move(name)), model_(model) {}

  std::string NameOf(::onnx::FunctionProto function) {
    std::string name = name_;
    if (!names_.empty()) name += "." + std::to_string(names_.size());
    const auto [known, is_new] = names_.emplace(function.SerializeAsString(), name);
    if (is_new) {
      function.set_name(name);
      *model_.add_functions() = std::move(function);
    }
    return known->second;
  }

 private:
  std::string name_;
  ::onnx::ModelProto& model_;
  std::map<std::string, std::string> names_;  // body -> name
};

void RemoveUnusedConstants(const std::string& prefix, ::onnx::GraphProto& graph) {
  std::unordered_set<std::string> used;
  for (const auto& node : graph.node()) used.insert(node.input().begin(), node.input().end());
  ::google::protobuf::RepeatedPtrField<::onnx::TensorProto> kept;
  for (auto& tensor : *graph.mutable_initializer()) {
    const bool is_constant = tensor.name().starts_with(prefix);
    if (!is_constant || used.contains(tensor.name())) kept.Add(std::move(tensor));
  }
  graph.mutable_initializer()->Swap(&kept);
}

}  // namespace

void MakeLayersFunctions(const std::string& name, const std::string& constant_prefix,
                         std::span<const NodeRange> layers, ::onnx::ModelProto& model) {
  ::onnx::GraphProto& graph = *model.mutable_graph();
  Constants constants;
  for (const auto& tensor : graph.initializer()) {
    if (tensor.name().starts_with(constant_prefix)) constants[tensor.name()] = &tensor;
  }
  const auto escaping = EscapingValues(graph, layers);
  FunctionSet functions(name, model);
  ::google::protobuf::RepeatedPtrField<::onnx::NodeProto> nodes;
  int next = 0;
  const auto take_until = [&](int end) {
    for (; next < end; ++next) nodes.Add(std::move(*graph.mutable_node(next)));
  };
  for (const NodeRange& range : layers) {
    take_until(range.begin);
    LayerFunction layer = LayerFunctionMaker(graph, range, constants, escaping).Make();
    ::onnx::NodeProto* call = nodes.Add();
    call->set_op_type(functions.NameOf(std::move(layer.function)));
    call->set_domain(kLayerDomain);
    call->set_name(range.name + "/" + call->op_type());
    for (std::string& input : layer.inputs) call->add_input(std::move(input));
    for (std::string& output : layer.outputs) call->add_output(std::move(output));
    next = range.end;
  }
  take_until(graph.node_size());
  graph.mutable_node()->Swap(&nodes);
  RemoveUnusedConstants(constant_prefix, graph);
}

}  // namespace expertile::onnx_target
