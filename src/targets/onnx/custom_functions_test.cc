// The custom ops' bodies: they have the signatures that the header gives, and consist of standard
// operators that fit together. What they compute is held by tests/e2e/test_onnx.py.
#include "targets/onnx/custom_functions.h"

#include <set>

#include "base/temporary_folder.h"
#include "targets/onnx/graph_builder.h"
#include "targets/onnx/saved_model.h"

namespace expertile::onnx_target {
namespace {

struct Argument {
  std::string name;
  ElementType type;
  std::vector<Dimension> shape;
};

struct Signature {
  std::string op;
  std::vector<Argument> inputs;
  std::vector<Dimension> output;
  std::string last_op;  // what the output is made by
};

// As the header says: B 2, H 3, C 7, D 4, S 5, T 6.
const std::vector<Signature> kSignatures = {
    {"CtxScatter",
     {{"data", ElementType::kFloat, {2, 3, 7, 4}},
      {"position_ids", ElementType::kInt64, {2, 5}},
      {"updates", ElementType::kFloat, {2, 3, 5, 4}}},
     {2, 3, 7, 4},
     "ScatterND"},
    {"CtxScatter3D",
     {{"data", ElementType::kFloat, {2, 6, 4}},
      {"position_ids", ElementType::kInt32, {2, 5}},
      {"updates", ElementType::kFloat, {2, 5, 4}}},
     {2, 6, 4},
     "ScatterND"},
    {"CtxScatter3DInt",
     {{"data", ElementType::kInt32, {2, 6, 1}},
      {"position_ids", ElementType::kInt32, {2, 5}},
      {"updates", ElementType::kInt32, {2, 5, 1}}},
     {2, 6, 1},
     "ScatterND"},
    {"CtxGather3D",
     {{"data", ElementType::kFloat, {2, 6, 4}}, {"ctx_indices", ElementType::kInt32, {2, 5}}},
     {2, 5, 4},
     "GatherND"},
    {"CustomRMSNorm",
     {{"hidden_states", ElementType::kFloat, {2, 6, 4}}, {"weight", ElementType::kFloat, {4}}},
     {2, 6, 4},
     "Mul"},
};

class CustomFunctions : public ::testing::TestWithParam<Signature> {
 protected:
  // A model whose only node is a call of the function.
  ::onnx::ModelProto ModelOfCall() {
    const TemporaryFolder folder;
    GraphBuilder graph("call", folder / "model.onnx");
    Inputs inputs;
    for (const Argument& each : GetParam().inputs) {
      graph.AddInput(each.name, each.type, each.shape);
      inputs.push_back(each.name);
    }
    graph.AddOutput("result", GetParam().inputs[0].type, GetParam().output);
    const Attributes attributes =
        GetParam().op == "CustomRMSNorm" ? Attributes{{"epsilon", 1e-5f}} : Attributes{};
    graph.NameOutput(graph.Function(GetParam().op, inputs, attributes), "result");
    EXPECT_TRUE(graph.Save());
    return ReadModel(folder / "model.onnx");
  }
};

TEST_P(CustomFunctions, HaveTheSignatureOfTheHeader) {
  ::onnx::ModelProto model;
  AddFunction(GetParam().op, model);
  ASSERT_EQ(model.functions_size(), 1);
  const ::onnx::FunctionProto& function = model.functions(0);
  EXPECT_EQ(function.name(), GetParam().op);
  EXPECT_EQ(function.domain(), DomainOf(GetParam().op));
  std::vector<std::string> names;
  for (const Argument& each : GetParam().inputs) names.push_back(each.name);
  EXPECT_EQ(std::vector<std::string>(function.input().begin(), function.input().end()), names);
  EXPECT_EQ(function.output_size(), 1);
  const auto& last = function.node(function.node_size() - 1);
  EXPECT_EQ(last.op_type(), GetParam().last_op);
  EXPECT_EQ(last.output(0), function.output(0));
}

// So that a runtime which knows none of these ops can run them.
TEST_P(CustomFunctions, UseStandardOperatorsAndWhatWasMadeBefore) {
  ::onnx::ModelProto model;
  AddFunction(GetParam().op, model);
  const ::onnx::FunctionProto& function = model.functions(0);
  ASSERT_EQ(function.opset_import_size(), 1);
  EXPECT_EQ(function.opset_import(0).domain(), "");
  EXPECT_EQ(function.opset_import(0).version(), kOpset);
  std::set<std::string> known(function.input().begin(), function.input().end());
  std::set<std::string> used;
  for (const auto& node : function.node()) {
    EXPECT_EQ(node.domain(), "");
    for (const auto& input : node.input()) EXPECT_TRUE(known.contains(input)) << input;
    used.insert(node.input().begin(), node.input().end());
    for (const auto& output : node.output()) EXPECT_TRUE(known.insert(output).second) << output;
  }
  for (const auto& input : function.input()) EXPECT_TRUE(used.contains(input)) << input;
}

// The shape that the operators make of the inputs' is the one that the header gives.
TEST_P(CustomFunctions, MakeTheShapeOfTheHeader) { ExpectValid(ModelOfCall(), {}, true); }

// That the test before can fail. The inference does not follow what CtxGather3D expands its indices
// to, and so takes any shape there.
TEST_P(CustomFunctions, RefuseAnotherShape) {
  if (GetParam().op == "CtxGather3D") return;
  ::onnx::ModelProto model = ModelOfCall();
  auto* shape = model.mutable_graph()->mutable_output(0)->mutable_type()->mutable_tensor_type();
  shape->mutable_shape()->mutable_dim(1)->set_dim_value(99);
  EXPECT_THROW(::onnx::shape_inference::InferShapes(model, ::onnx::OpSchemaRegistry::Instance(),
                                                    ::onnx::ShapeInferenceOptions(true, 1, true)),
               std::exception);
}

INSTANTIATE_TEST_SUITE_P(All, CustomFunctions, ::testing::ValuesIn(kSignatures),
                         [](const auto& each) { return each.param.op; });

TEST(CustomRmsNorm, TakesEpsilonFromItsCall) {
  ::onnx::ModelProto model;
  AddFunction("CustomRMSNorm", model);
  const ::onnx::FunctionProto& function = model.functions(0);
  ASSERT_EQ(function.attribute_size(), 1);
  EXPECT_EQ(function.attribute(0), "epsilon");
  const auto constants = NodesOf(function, "Constant");
  ASSERT_EQ(constants.size(), 1u);
  EXPECT_EQ(constants[0].attribute(0).ref_attr_name(), "epsilon");
}

}  // namespace
}  // namespace expertile::onnx_target
