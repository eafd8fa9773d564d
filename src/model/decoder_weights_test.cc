// The tables of weights against the checkpoints that they describe, and against the names that
// programs have had from the first on.
#include "model/decoder_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "model/checkpoint.h"

namespace expertile {
namespace {

// Every switch on: layer 0 has a MLP, layer 1 experts and a gated shared one.
DecoderSpec EverySwitch() {
  DecoderSpec spec;
  spec.vocab_size = 11;
  spec.hidden_size = 6;
  spec.moe.num_experts = 5;
  spec.moe.intermediate_size = 7;
  spec.moe.has_bias = spec.moe.router.has_bias = true;
  spec.moe.shared = SharedExpertSpec{3, /*has_gate=*/true};
  const AttentionSpec attention{.num_heads = 4,
                                .num_kv_heads = 2,
                                .head_dim = 8,
                                .has_bias = true,
                                .query_key_norm = true,
                                .has_sinks = true};
  spec.layers = {{attention, MlpSpec{9, {}}}, {attention, spec.moe}};
  return spec;
}

struct Collector {
  std::vector<std::string> groups;
  std::vector<Weight> weights;

  Status BeginGroup(const std::string& group) {
    groups.push_back(group);
    return {};
  }
  template <typename... Slots>
  Status operator()(const Weight& weight, Slots&...) {
    weights.push_back(weight);
    return {};
  }
};

std::vector<std::string> NamesOf(const std::vector<Weight>& weights) {
  std::vector<std::string> names;
  for (const Weight& weight : weights) names.push_back(weight.name);
  return names;
}

// Programs that were compiled before must open: these names and their order are for good.
TEST(DecoderWeights, AreListedUnderTheNamesOfPrograms) {
  Collector found;
  ASSERT_TRUE(VisitWeights(EverySwitch(), found));
  EXPECT_EQ(found.groups, (std::vector<std::string>{"embedding", "layers.0", "layers.1", "head"}));
  std::vector<std::string> expected = {"embedding"};
  const std::vector<std::string> attention = {"attention_norm", "query",  "key",
                                              "value",          "output", "query_norm",
                                              "key_norm",       "sinks",  "mlp_norm"};
  for (const std::string layer : {"layers.0.", "layers.1."}) {
    for (const std::string& name : attention) expected.push_back(layer + name);
    if (layer == "layers.1.") expected.push_back(layer + "router");
    expected.push_back(layer + "experts");
  }
  for (const char* name : {"layers.1.shared", "layers.1.shared_gate", "final_norm", "lm_head"}) {
    expected.emplace_back(name);
  }
  EXPECT_EQ(NamesOf(found.weights), expected);
}

TEST(DecoderWeights, HaveShapesAndCounts) {
  Collector found;
  ASSERT_TRUE(VisitWeights(EverySwitch(), found));
  const auto count = [&](const std::string& name) {
    for (const Weight& weight : found.weights) {
      if (weight.name == name) return weight.NumElements();
    }
    return int64_t{-1};
  };
  EXPECT_EQ(count("embedding"), 11 * 6);
  EXPECT_EQ(count("layers.0.query"), 32 * 6 + 32);
  EXPECT_EQ(count("layers.0.key"), 16 * 6 + 16);
  EXPECT_EQ(count("layers.0.output"), 6 * 32);
  EXPECT_EQ(count("layers.0.key_norm"), 8);
  EXPECT_EQ(count("layers.0.sinks"), 4);
  EXPECT_EQ(count("layers.0.experts"), 3 * 9 * 6);
  EXPECT_EQ(count("layers.1.router"), 5 * 6 + 5);
  EXPECT_EQ(count("layers.1.experts"), 5 * (3 * 7 * 6 + 7 + 7 + 6));
  EXPECT_EQ(count("layers.1.shared"), 3 * 3 * 6);
  EXPECT_EQ(count("layers.1.shared_gate"), 6);
}

TEST(DecoderWeights, BecomeTheAlternativesOfTheirSpec) {
  DecoderViews views;
  ASSERT_TRUE(VisitWeights(EverySwitch(), Collector(), views));
  ASSERT_EQ(views.layers.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<MlpWeights<CheckpointViews>>(views.layers[0].mlp));
  EXPECT_TRUE(std::holds_alternative<MoeViews>(views.layers[1].mlp));
}

TEST(DecoderWeights, AreListedNoMoreAfterAnError) {
  struct Refusing : Collector {
    Status operator()(const Weight& weight) {
      weights.push_back(weight);
      if (weight.name == "layers.0.key") return InvalidData("refused");
      return {};
    }
  } visitor;
  const Status status = VisitWeights(EverySwitch(), visitor);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "refused");
  EXPECT_EQ(visitor.weights.back().name, "layers.0.key");
  EXPECT_EQ(visitor.groups.back(), "layers.0");
}

// Holds views to the table's shapes.
struct ShapeCheck {
  Status BeginGroup(const std::string&) { return {}; }
  Status operator()(const Weight& weight, const WeightView& view) {
    if (view.mlps.empty()) {
      Check(weight, view.linear, weight.rows, weight.cols);
      return {};
    }
    EXPECT_EQ(static_cast<int64_t>(view.mlps.size()), weight.count) << weight.name;
    for (const MlpView& mlp : view.mlps) {
      Check(weight, mlp.gate, weight.rows, weight.cols);
      Check(weight, mlp.up, weight.rows, weight.cols);
      Check(weight, mlp.down, weight.cols, weight.rows);
    }
    return {};
  }
  static void Check(const Weight& weight, const LinearView& view, int64_t rows, int64_t cols) {
    EXPECT_NE(view.weight.data, nullptr) << weight.name;
    EXPECT_EQ(view.weight.rows, rows) << weight.name;
    EXPECT_EQ(view.weight.cols, cols) << weight.name;
    EXPECT_EQ(view.bias.has_value(), weight.has_bias) << weight.name;
    EXPECT_EQ(view.bias ? view.bias->cols : rows, rows) << weight.name;
  }
};

// Weights that a checkpoint's tensors hold: two to a byte in MXFP4, whose scales are none.
int64_t NumElementsIn(const CheckpointTensors& tensors) {
  int64_t total = 0;
  for (const std::string& name : tensors.names()) {
    if (name.ends_with("_scales")) continue;
    const auto& shape = tensors.Find(name)->shape;
    const int64_t size =
        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    total += name.ends_with("_blocks") ? 2 * size : size;
  }
  return total;
}

class TinyCheckpoint : public testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<const Checkpoint> checkpoint_ =
      LoadCheckpoint(std::filesystem::path(EXPERTILE_SOURCE_DIR) / "models" / GetParam()).value();
};
INSTANTIATE_TEST_SUITE_P(Families, TinyCheckpoint,
                         testing::Values("tiny-gpt_oss", "tiny-granitemoe", "tiny-qwen3_moe",
                                         "tiny-qwen3_vl_moe"));

TEST_P(TinyCheckpoint, ViewsHaveTheTablesShapes) {
  ASSERT_TRUE(VisitWeights(checkpoint_->config.spec, ShapeCheck(), checkpoint_->weights));
  if (!checkpoint_->config.vision) return;
  ASSERT_TRUE(
      VisitWeights(checkpoint_->config.vision->spec, ShapeCheck(), *checkpoint_->vision_weights));
}

TEST_P(TinyCheckpoint, TheTableHasEveryTensorOnce) {
  Collector found;
  ASSERT_TRUE(VisitWeights(checkpoint_->config.spec, found));
  if (checkpoint_->config.vision) {
    ASSERT_TRUE(VisitWeights(checkpoint_->config.vision->spec, found));
  }
  int64_t total = 0;
  for (const Weight& weight : found.weights) {
    const bool is_tied = weight.role == WeightRole::kHead && checkpoint_->config.spec.tied_lm_head;
    total += is_tied ? 0 : weight.NumElements();
  }
  EXPECT_EQ(total, NumElementsIn(checkpoint_->tensors));
  std::vector<std::string> names = NamesOf(found.weights);
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

}  // namespace
}  // namespace expertile
