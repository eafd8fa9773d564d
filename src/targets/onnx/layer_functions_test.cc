// Layers folded into functions: which layers share one, and what a call passes.
#include "targets/onnx/layer_functions.h"

#include <set>

#include "base/temporary_folder.h"
#include "targets/onnx/graph_builder.h"
#include "targets/onnx/saved_model.h"

namespace expertile::onnx_target {
namespace {

// A layer of a toy decoder: (x w_i + past_i) * constant, with the sum as the layer's new state.
struct ToyLayer {
  float factor = 2.0f;
  std::string op = "Add";
};

class LayerFunctions : public ::testing::Test {
 protected:
  // x -> layers -> y, folded.
  ::onnx::ModelProto Fold(const std::vector<ToyLayer>& layers, bool fold = true) {
    GraphBuilder graph("toy", folder_ / "model.onnx");
    graph.AddInput("x", ElementType::kFloat, {3, 4});
    std::string x = graph.Node("Mul", {"x", graph.Float(kFactorOutside)});
    for (size_t i = 0; i < layers.size(); ++i)
      x = AddLayer(graph, static_cast<int>(i), layers[i], x);
    graph.AddOutput("y", ElementType::kFloat, {3, 4});
    graph.NameOutput(x, "y");
    if (fold) graph.FoldLayers("Layer");
    EXPECT_TRUE(graph.Save());
    ::onnx::ModelProto model = ReadModel(folder_ / "model.onnx");
    ExpectValid(model, {});
    return model;
  }

  static std::string AddLayer(GraphBuilder& graph, int i, const ToyLayer& layer,
                              const std::string& x) {
    const std::string index = std::to_string(i);
    const std::string weight = "layers." + index + ".w";
    graph.BeginWeight(weight, {4, 4});
    EXPECT_TRUE(graph.AppendWeight(std::vector<float>(16, 1.0f)));
    graph.AddInput("past." + index, ElementType::kFloat, {3, 4});
    graph.AddOutput("past." + index + "_RetainedState", ElementType::kFloat, {3, 4});
    graph.BeginLayer(i);
    const std::string product = graph.Node("MatMul", {x, weight});
    const std::string state = graph.Node(layer.op, {product, "past." + index});
    graph.NameOutput(state, "past." + index + "_RetainedState");
    const std::string y = graph.Node("Mul", {state, graph.Float(layer.factor)});
    graph.EndLayer();
    return y;
  }

  static constexpr float kFactorOutside = 3.0f;
  TemporaryFolder folder_;
};

std::vector<::onnx::NodeProto> CallsOf(const ::onnx::ModelProto& model) {
  std::vector<::onnx::NodeProto> calls;
  std::ranges::copy_if(model.graph().node(), std::back_inserter(calls),
                       [](const auto& node) { return node.domain() == kLayerDomain; });
  return calls;
}

TEST_F(LayerFunctions, EqualLayersShareAFunction) {
  const ::onnx::ModelProto model = Fold({{}, {}, {}});
  EXPECT_EQ(NamesOf(model.functions()), (std::vector<std::string>{"Layer"}));
  const auto calls = CallsOf(model);
  ASSERT_EQ(calls.size(), 3u);
  for (const auto& call : calls) EXPECT_EQ(call.op_type(), "Layer");
  EXPECT_EQ(calls[2].name(), "/model/layers.2/Layer");
}

TEST_F(LayerFunctions, DifferentLayersHaveTheirOwn) {
  const ::onnx::ModelProto model = Fold({{}, {2.5f}, {2.0f, "Sub"}, {}, {2.5f}});
  EXPECT_EQ(NamesOf(model.functions()), (std::vector<std::string>{"Layer", "Layer.1", "Layer.2"}));
  std::vector<std::string> called;
  for (const auto& call : CallsOf(model)) called.push_back(call.op_type());
  EXPECT_EQ(called, (std::vector<std::string>{"Layer", "Layer.1", "Layer.2", "Layer", "Layer.1"}));
}

// Weights, caches and the rows go in; what others use comes out, and nothing else.
TEST_F(LayerFunctions, ACallPassesItsLayersWeightsAndStates) {
  const ::onnx::ModelProto model = Fold({{}, {}});
  const auto calls = CallsOf(model);
  ASSERT_EQ(calls.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const std::string index = std::to_string(i);
    const std::set<std::string> inputs(calls[i].input().begin(), calls[i].input().end());
    const std::string before = i == 0 ? model.graph().node(0).output(0) : calls[0].output(1);
    EXPECT_EQ(inputs, (std::set<std::string>{before, "layers." + index + ".w", "past." + index}));
    ASSERT_EQ(calls[i].output_size(), 2);
    EXPECT_EQ(calls[i].output(0), "past." + index + "_RetainedState");
  }
  const auto& function = model.functions(0);
  EXPECT_EQ(function.input_size(), 3);
  EXPECT_EQ(function.output_size(), 2);
  const std::set<std::string> names(function.input().begin(), function.input().end());
  EXPECT_TRUE(names.contains("w") && names.contains("past"));
}

TEST_F(LayerFunctions, ConstantsMoveInUnlessTheGraphUsesThem) {
  const ::onnx::ModelProto model = Fold({{2.0f}, {kFactorOutside}});
  ASSERT_EQ(model.functions_size(), 2);
  for (const auto& function : model.functions()) {
    const auto constants = NodesOf(function, "Constant");
    ASSERT_EQ(constants.size(), 1u);
    const float value = ValuesOf<float>(constants[0].attribute(0).t())[0];
    EXPECT_EQ(value, function.name() == "Layer" ? 2.0f : kFactorOutside);
  }
  const auto names = NamesOf(model.graph().initializer());
  EXPECT_EQ(std::ranges::count_if(names, [](const auto& n) { return n.starts_with("constant"); }),
            1);  // kFactorOutside
}

TEST_F(LayerFunctions, ConsistOfTheNodesThatTheLayerHad) {
  const ::onnx::ModelProto flat = Fold({{}, {}}, /*fold=*/false);
  const ::onnx::ModelProto folded = Fold({{}, {}});
  EXPECT_EQ(flat.functions_size(), 0);
  int num_nodes = folded.graph().node_size() - 2;          // without the calls
  num_nodes += 2 * (folded.functions(0).node_size() - 1);  // without the constant
  EXPECT_EQ(num_nodes, flat.graph().node_size());
  EXPECT_EQ(NamesOf(folded.graph().input()), NamesOf(flat.graph().input()));
  EXPECT_EQ(NamesOf(folded.graph().output()), NamesOf(flat.graph().output()));
}

}  // namespace
}  // namespace expertile::onnx_target
