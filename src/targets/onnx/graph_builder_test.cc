// The graph as it grows, written and read back.
#include "targets/onnx/graph_builder.h"

#include <set>

#include "base/temporary_folder.h"
#include "targets/onnx/custom_functions.h"
#include "targets/onnx/saved_model.h"

namespace expertile::onnx_target {
namespace {

class GraphBuilderTest : public ::testing::Test {
 protected:
  ::onnx::ModelProto Saved(GraphBuilder& graph) {
    const Status status = graph.Save();
    EXPECT_TRUE(status) << status.error().message;
    return ReadModel(file_);
  }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "model.onnx";
};

TEST_F(GraphBuilderTest, InputsAndOutputsHaveTypesSizesAndNamedAxes) {
  GraphBuilder graph("name", file_);
  graph.AddInput("ids", ElementType::kInt64, {"batch_size", 3});
  graph.AddOutput("same", ElementType::kInt64, {"batch_size", 3});
  graph.NameOutput("ids", "same");
  const ::onnx::ModelProto model = Saved(graph);
  EXPECT_EQ(model.graph().name(), "name");
  const auto& tensor = model.graph().input(0).type().tensor_type();
  EXPECT_EQ(tensor.elem_type(), ::onnx::TensorProto::INT64);
  ASSERT_EQ(tensor.shape().dim_size(), 2);
  EXPECT_EQ(tensor.shape().dim(0).dim_param(), "batch_size");
  EXPECT_EQ(tensor.shape().dim(1).dim_value(), 3);
  EXPECT_EQ(model.graph().output(0).name(), "same");
  ExpectValid(model, {{"batch_size", 2}});
}

TEST_F(GraphBuilderTest, NodesAreInOrderUnderNamesOfTheirOwn) {
  GraphBuilder graph("name", file_);
  const std::string first = graph.Node("Neg", {"x"});
  const std::string second = graph.Node("Neg", {first});
  EXPECT_NE(first, second);
  const ::onnx::ModelProto model = Saved(graph);
  ASSERT_EQ(model.graph().node_size(), 2);
  EXPECT_EQ(model.graph().node(1).input(0), first);
  EXPECT_EQ(model.graph().node(1).output(0), second);
  EXPECT_EQ(model.graph().node(1).name(), second);
}

TEST_F(GraphBuilderTest, AttributesKeepTheirKinds) {
  GraphBuilder graph("name", file_);
  graph.Node("Op", {},
             {{"int", int64_t{-4}},
              {"float", 0.5f},
              {"text", std::string("ab")},
              {"no text", std::string()},
              {"list", std::vector<int64_t>{1, 2}},
              {"no list", std::vector<int64_t>()}});
  const ::onnx::ModelProto model = Saved(graph);
  const auto& attributes = model.graph().node(0).attribute();
  using Proto = ::onnx::AttributeProto;
  ASSERT_EQ(attributes.size(), 6);
  EXPECT_EQ(attributes[0].type(), Proto::INT);
  EXPECT_EQ(attributes[0].i(), -4);
  EXPECT_EQ(attributes[1].type(), Proto::FLOAT);
  EXPECT_EQ(attributes[1].f(), 0.5f);
  EXPECT_EQ(attributes[2].s(), "ab");
  EXPECT_EQ(attributes[3].type(), Proto::STRING);
  EXPECT_EQ(attributes[4].ints_size(), 2);
  EXPECT_EQ(attributes[5].type(), Proto::INTS);
}

TEST_F(GraphBuilderTest, EachConstantIsThereOnce) {
  GraphBuilder graph("name", file_);
  EXPECT_EQ(graph.Ints({1, 2}), graph.Ints({1, 2}));
  EXPECT_EQ(graph.Float(0.1f), graph.Float(0.1f));
  // The same number, but of another type or rank; floats that print alike in six digits.
  const std::set<std::string> names = {
      graph.Ints({1, 2}), graph.Ints({12}),  graph.Ints({1}),   graph.Int(1),
      graph.Int32(1),     graph.Float(1.0f), graph.Float(0.1f), graph.Float(0.10000001f + 1e-8f),
      graph.Float(0.0f),  graph.Float(-0.0f)};
  EXPECT_EQ(names.size(), 10u);
  const ::onnx::ModelProto model = Saved(graph);
  EXPECT_EQ(model.graph().initializer_size(), 10);
  const auto list = Find(model.graph().initializer(), graph.Ints({1, 2}));
  EXPECT_EQ(DimsOf(list), (std::vector<int64_t>{2}));
  EXPECT_EQ(ValuesOf<int64_t>(list), (std::vector<int64_t>{1, 2}));
  const auto one = Find(model.graph().initializer(), graph.Int32(1));
  EXPECT_EQ(one.dims_size(), 0);
  EXPECT_EQ(ValuesOf<int32_t>(one), (std::vector<int32_t>{1}));
}

TEST_F(GraphBuilderTest, TopKHasTwoOutputs) {
  GraphBuilder graph("name", file_);
  graph.AddInput("x", ElementType::kFloat, {4, 5});
  graph.AddOutput("values", ElementType::kFloat, {4, 3});
  graph.AddOutput("indices", ElementType::kInt64, {4, 3});
  const auto largest = graph.TopK("x", 3);
  graph.NameOutput(largest.values, "values");
  graph.NameOutput(largest.indices, "indices");
  ExpectValid(Saved(graph), {});
}

TEST_F(GraphBuilderTest, AFunctionThatIsUsedTwiceIsCarriedOnce) {
  GraphBuilder graph("name", file_);
  graph.AddInput("x", ElementType::kFloat, {4, 5});
  graph.AddInput("w", ElementType::kFloat, {5});
  graph.AddOutput("y", ElementType::kFloat, {4, 5});
  const std::string once = graph.Function("CustomRMSNorm", {"x", "w"}, {{"epsilon", 1e-6f}});
  graph.NameOutput(graph.Function("CustomRMSNorm", {once, "w"}, {{"epsilon", 1e-5f}}), "y");
  const ::onnx::ModelProto model = Saved(graph);
  EXPECT_EQ(NamesOf(model.functions()), (std::vector<std::string>{"CustomRMSNorm"}));
  EXPECT_EQ(model.graph().node(0).domain(), kNormDomain);
  ExpectValid(model, {});
}

// Two weights in pieces, with a constant between them; then the graph that uses them.
void AddWeights(GraphBuilder& graph) {
  graph.BeginWeight("first", {2, 2});
  ASSERT_TRUE(graph.AppendWeight(std::vector<float>{1, 2, 3}));
  ASSERT_TRUE(graph.AppendWeight(std::vector<float>{4}));
  graph.Int(7);
  graph.BeginWeight("second", {3});
  ASSERT_TRUE(graph.AppendWeight(std::vector<float>{5, 6, 7}));
}

TEST_F(GraphBuilderTest, SmallWeightsAreInTheFile) {
  GraphBuilder graph("name", file_);
  AddWeights(graph);
  const ::onnx::ModelProto model = Saved(graph);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "model.onnx.data"));
  const auto first = Find(model.graph().initializer(), "first");
  EXPECT_EQ(first.data_location(), ::onnx::TensorProto::DEFAULT);
  EXPECT_EQ(first.external_data_size(), 0);
  EXPECT_EQ(DimsOf(first), (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(ValuesOf<float>(first), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(ValuesOf<float>(Find(model.graph().initializer(), "second")),
            (std::vector<float>{5, 6, 7}));
}

TEST_F(GraphBuilderTest, LargeWeightsAreInAFileBesideIt) {
  GraphBuilder graph("name", file_, /*largest_inline_bytes=*/27);  // there are 28
  AddWeights(graph);
  const ::onnx::ModelProto model = Saved(graph);
  EXPECT_EQ(std::filesystem::file_size(folder_ / "model.onnx.data"), 28u);
  std::map<std::string, std::string> where;
  for (const auto& entry : Find(model.graph().initializer(), "second").external_data()) {
    where[entry.key()] = entry.value();
  }
  EXPECT_EQ(where, (std::map<std::string, std::string>{
                       {"location", "model.onnx.data"}, {"offset", "16"}, {"length", "12"}}));
  EXPECT_FALSE(Find(model.graph().initializer(), "second").has_raw_data());
}

TEST_F(GraphBuilderTest, AsMuchAsMayBeInlineIsInline) {
  GraphBuilder graph("name", file_, /*largest_inline_bytes=*/28);
  AddWeights(graph);
  EXPECT_FALSE(Saved(graph).graph().initializer(0).raw_data().empty());
}

TEST_F(GraphBuilderTest, NodesOfALayerAreNamedAfterIt) {
  GraphBuilder graph("name", file_);
  EXPECT_TRUE(graph.Node("Neg", {"x"}).starts_with("/model/Neg"));
  graph.BeginLayer(4);
  EXPECT_TRUE(graph.Node("Neg", {"x"}).starts_with("/model/layers.4/Neg"));
  graph.EndLayer();
  EXPECT_TRUE(graph.Node("Neg", {"x"}).starts_with("/model/Neg"));
}

TEST_F(GraphBuilderTest, AFolderThatIsNotThereIsAnError) {
  const std::filesystem::path file = folder_ / "none" / "model.onnx";
  GraphBuilder graph("name", file);
  graph.Node("Neg", {"x"});
  const Status status = graph.Save();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find(file.string()), std::string::npos);
  EXPECT_FALSE(graph.AppendWeight(std::vector<float>{1}));
}

// A device that is full, in the place of the model and of its weights.
TEST_F(GraphBuilderTest, AFullDiskIsAnError) {
  for (const char* name : {"model.onnx", "model.onnx.data"}) {
    const TemporaryFolder folder;
    std::filesystem::create_symlink("/dev/full", folder / name);
    GraphBuilder graph("name", folder / "model.onnx");
    graph.BeginWeight("w", {2});
    ASSERT_TRUE(graph.AppendWeight(std::vector<float>{1, 2}));  // into a buffer
    const Status status = graph.Save();
    ASSERT_FALSE(status) << name;
    EXPECT_EQ(status.error().message, (folder / name).string() + ": cannot write");
  }
}

}  // namespace
}  // namespace expertile::onnx_target
