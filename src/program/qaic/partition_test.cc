#include "program/qaic/partition.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/temporary_folder.h"
#include "program/qaic/node_list.h"

namespace expertile::qaic {
namespace {

using Names = std::vector<std::string>;

Names NamesOf(const GraphOutline& graph) {
  const auto nodes = CompilerNodes(graph);
  if (!nodes) return {nodes.error().message};
  Names names;
  for (const CompilerNode& node : *nodes) names.push_back(node.name);
  return names;
}

// embed, two nodes in each layer, head.
GraphOutline Decoder(int num_layers) {
  GraphOutline graph;
  graph.nodes.push_back({"/model/embed/Gather", "Gather", {"weight", "input_ids"}, {"h.in"}});
  graph.constants = {"weight"};
  std::string hidden = "h.in";
  for (int i = 0; i < num_layers; ++i) {
    const std::string layer = "/model/layers." + std::to_string(i);
    graph.nodes.push_back({layer + "/attn", "MatMul", {hidden}, {layer + "a"}});
    graph.nodes.push_back({layer + "/mlp", "MatMul", {layer + "a"}, {layer + "b"}});
    hidden = layer + "b";
  }
  graph.nodes.push_back({"/lm_head/MatMul", "MatMul", {hidden, "weight"}, {"logits"}});
  return graph;
}

TEST(NodeList, ConstantsFoldToTheEnd) {
  GraphOutline graph;
  graph.constants = {"w"};
  graph.nodes = {{"shape", "Constant", {}, {"s"}},
                 {"reshape", "Reshape", {"w", "s"}, {"w2"}},
                 {"transpose", "Transpose", {"w2", ""}, {"w3"}},
                 {"identity", "Identity", {"w3"}, {"w4"}},
                 {"cast", "Cast", {"w4"}, {"w5"}},
                 {"matmul", "MatMul", {"x", "w3"}, {"y"}},
                 {"", "Relu", {"y"}, {"z"}},
                 {"random", "RandomNormal", {}, {"r"}}};
  EXPECT_EQ(NamesOf(graph), (Names{"identity", "cast", "matmul", "random"}));
}

TEST(NodeList, SmallFunctionsAreInlinedInPlace) {
  GraphOutline graph;
  graph.functions["CtxGather"] = {"n0", "", "n2"};
  graph.functions["CustomRMSNorm"] = {"n0", "n1"};
  graph.functions["Layer99"] = Names(99, "n");
  graph.functions["Layer100"] = Names(100, "n");
  graph.nodes = {{"norm", "CustomRMSNorm", {"x"}, {"a"}},
                 {"gather", "CtxGather", {"a"}, {"b"}},
                 {"large", "Layer100", {"b"}, {"c"}}};
  EXPECT_EQ(NamesOf(graph), (Names{"norm", "gather/n0", "gather/n2", "large"}));
  graph.nodes = {{"small", "Layer99", {"x"}, {"y"}}};
  EXPECT_EQ(NamesOf(graph), Names(99, "small/n"));
}

TEST(NodeList, RefusesANodeBeforeItsInput) {
  GraphOutline graph;
  graph.nodes = {{"second", "Relu", {"y"}, {"z"}}, {"first", "Relu", {"x"}, {"y"}}};
  EXPECT_EQ(NamesOf(graph), Names{"second: its input y is made by a later node"});
}

TEST(NodeList, LayersByName) {
  EXPECT_EQ(LayerOfName("/model/layers.17/self_attn/MatMul"), 17);
  EXPECT_EQ(LayerOfName("layers.0"), 0);
  EXPECT_EQ(LayerOfName("/transformer/h.3/mlp"), 3);
  EXPECT_EQ(LayerOfName("layer_5//model/embed_tokens/Gather"), 5);
  for (const char* name : {"", "/", "/model/norm", "/layers.x/a", "/layers.1x/a", "/layers./a",
                           "/mylayers.1/a", "/layers.-1/a", "/layers.99999999999/a"}) {
    EXPECT_EQ(LayerOfName(name), std::nullopt) << name;
  }
}

TEST(Partition, TensorSlicingText) {
  const Partition partition = TensorSlicing(2, 16).value();
  EXPECT_EQ(partition.file_name, "mdp_ts_2.json");
  EXPECT_EQ(partition.kind, Partition::Kind::kTensorSlicing);
  EXPECT_EQ(partition.json, R"({
    "connections": [
        {
            "devices": [
                0,
                1
            ],
            "type": "p2p"
        }
    ],
    "partitions": [
        {
            "devices": [
                {
                    "deviceId": 0,
                    "numCores": 16
                },
                {
                    "deviceId": 1,
                    "numCores": 16
                }
            ],
            "name": "Partition0"
        }
    ]
}
)");
}

TEST(Partition, LayersLeftOverGoToTheMiddleThenTheFirst) {
  using Layers = std::vector<int>;
  EXPECT_EQ(LayersOfStages(48, 4).value(), (Layers{12, 12, 12, 12}));
  EXPECT_EQ(LayersOfStages(5, 1).value(), Layers{5});
  EXPECT_EQ(LayersOfStages(5, 2).value(), (Layers{3, 2}));
  EXPECT_EQ(LayersOfStages(7, 3).value(), (Layers{2, 3, 2}));
  EXPECT_EQ(LayersOfStages(8, 3).value(), (Layers{3, 3, 2}));
  EXPECT_EQ(LayersOfStages(9, 4).value(), (Layers{2, 3, 2, 2}));
  EXPECT_EQ(LayersOfStages(10, 4).value(), (Layers{2, 3, 3, 2}));
  EXPECT_EQ(LayersOfStages(11, 5).value(), (Layers{2, 2, 3, 2, 2}));
  EXPECT_EQ(LayersOfStages(12, 5).value(), (Layers{2, 2, 3, 3, 2}));
}

TEST(Partition, EveryLayerIsInOneStageAndTheLastGetsNoneExtra) {
  for (int num_stages = 1; num_stages <= 9; ++num_stages) {
    for (int num_layers = num_stages; num_layers <= 40; ++num_layers) {
      const std::vector<int> layers = LayersOfStages(num_layers, num_stages).value();
      EXPECT_EQ(std::accumulate(layers.begin(), layers.end(), 0), num_layers);
      for (const int count : layers) EXPECT_LE(count - num_layers / num_stages, 1);
      EXPECT_EQ(layers.back(), num_layers / num_stages);
    }
  }
}

TEST(Partition, PipelineSplitsNodesAndDevices) {
  const Partition partition = Pipeline(Decoder(3), 3, 2, 4, 16).value();
  EXPECT_EQ(partition.file_name, "mdp_disagg_4d_2p.json");
  EXPECT_EQ(partition.kind, Partition::Kind::kPipeline);
  const auto expected = nlohmann::json::parse(R"({
    "connections": [{"devices": [0, 1, 2, 3], "type": "p2p"}],
    "partitions": [
      {"name": "Partition0",
       "nodeList": ["/model/embed/Gather", "/model/layers.0/attn", "/model/layers.0/mlp",
                    "/model/layers.1/attn", "/model/layers.1/mlp"],
       "devices": [{"deviceId": 0, "numCores": 16}, {"deviceId": 1, "numCores": 16}]},
      {"name": "Partition1",
       "nodeList": ["/model/layers.2/attn", "/model/layers.2/mlp", "/lm_head/MatMul"],
       "devices": [{"deviceId": 2, "numCores": 16}, {"deviceId": 3, "numCores": 16}]}]})");
  EXPECT_EQ(nlohmann::json::parse(partition.json), expected);
}

TEST(Partition, InlinedNodesGoWithTheirCaller) {
  GraphOutline graph;
  graph.functions["Layer"] = {"layers.0"};  // a body's name says nothing of where it is called
  graph.nodes = {{"/layers.0/call", "Layer", {"x"}, {"y"}},
                 {"/layers.1/call", "Layer", {"y"}, {"z"}}};
  const auto partition = nlohmann::json::parse(Pipeline(graph, 2, 2, 2, 4).value().json);
  EXPECT_EQ(partition["partitions"][1]["nodeList"],
            nlohmann::json::array({"/layers.1/call/layers.0"}));
}

TEST(Partition, RefusesWhatCannotBeShared) {
  EXPECT_EQ(TensorSlicing(0, 16).error().message, "num_devices: 0, expected at least 1");
  EXPECT_EQ(TensorSlicing(2, 0).error().message, "num_cores: 0, expected at least 1");
  EXPECT_EQ(LayersOfStages(2, 3).error().message, "num_stages: 3, but the model has 2 layers");
  EXPECT_EQ(LayersOfStages(2, 0).error().message, "num_stages: 0, expected at least 1");
  EXPECT_EQ(Pipeline(Decoder(4), 4, 2, 3, 16).error().message,
            "num_devices: 3 is no multiple of num_stages 2");
  EXPECT_EQ(Pipeline(Decoder(4), 2, 2, 2, 16).error().message,
            "/model/layers.2/attn: in layer 2, but the model has 2");
  GraphOutline unnamed;
  unnamed.nodes = {{"MatMul_0", "MatMul", {"x"}, {"y"}}};
  EXPECT_EQ(Pipeline(unnamed, 2, 2, 2, 16).error().message,
            "pipeline stage 1 of 2: no node names one of its 1 layers");
}

TEST(Partition, AUsersFileIsTakenAsItIs) {
  const TemporaryFolder folder;
  const std::string text = R"({"connections":[],"partitions":[]})";
  const std::string path = folder / "mine.json";
  std::ofstream(path) << text;
  const Partition partition = GivenPartition(path).value();
  EXPECT_EQ(partition.json, text);
  EXPECT_EQ(partition.kind, Partition::Kind::kGiven);
  std::ofstream(path) << R"({"connections":[]})";
  EXPECT_EQ(GivenPartition(path).error().message, path + ": partitions: expected a list");
  std::ofstream(path) << "[]";
  EXPECT_EQ(GivenPartition(path).error().message, path + ": connections: expected a list");
}

}  // namespace
}  // namespace expertile::qaic
