// WorkOf() against counts made by hand, and against counting key by key.
#include "model/stage_work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace expertile {
namespace {

// H = 8; one layer of 4 heads on 2 key-value heads of D = 2; E = 4, K = 2, I = 3.
DecoderSpec OneLayer(int64_t window = 0) {
  DecoderSpec spec;
  spec.vocab_size = 10;
  spec.hidden_size = 8;
  spec.moe.num_experts = 4;
  spec.moe.intermediate_size = 3;
  spec.moe.router.experts_per_token = 2;
  spec.layers = {{AttentionSpec{.num_heads = 4, .num_kv_heads = 2, .head_dim = 2, .window = window},
                  spec.moe}};
  return spec;
}

PerStage<StageWork> Work(const DecoderSpec& spec, std::vector<SequenceRows> sequences,
                         const NumberFormats& formats = {}, double num_experts_read = 4.0) {
  return WorkOf(spec, formats, {sequences, 1, num_experts_read});
}

TEST(StageWork, OfASmallLayerByHand) {
  const auto work = Work(OneLayer(), {{0, 3}});  // T = 3
  EXPECT_EQ(work[Stage::kEmbed].bytes, 3 * 8 * (4 + 4));
  // [8,8] for query, [4,8] for key and for value, [8,8] for output.
  EXPECT_EQ(work[Stage::kProjections].flops, 2.0 * 3 * (64 + 32 + 32 + 64));
  EXPECT_EQ(work[Stage::kProjections].bytes, 4.0 * 192);
  EXPECT_EQ(work[Stage::kRope].bytes, 2.0 * 4 * 3 * (8 + 4));
  EXPECT_EQ(work[Stage::kKvWrite].bytes, 2.0 * 3 * 4 * (4 + 4));
  // 1 + 2 + 3 keys for each of 4 heads of 2: a product for the score, one for the sum.
  EXPECT_EQ(work[Stage::kAttention].flops, 2.0 * 2 * 2 * 4 * 6);
  EXPECT_EQ(work[Stage::kAttention].bytes, 4.0 * 2 * 4 * 3);
  EXPECT_EQ(work[Stage::kRouter].flops, 2.0 * 3 * 4 * 8);
  EXPECT_EQ(work[Stage::kExperts].flops, 2.0 * 3 * 2 * 3 * 8 * 3);
  EXPECT_EQ(work[Stage::kExperts].bytes, 4.0 * 4 * 3 * 8 * 3);
  EXPECT_EQ(work[Stage::kCombine].bytes, 4.0 * 3 * 8 * (2 + 1));
  EXPECT_EQ(work[Stage::kResidual].bytes, 2 * 3 * 4.0 * 3 * 8);
  EXPECT_EQ(work[Stage::kNorms].bytes, 2 * 4.0 * (2 * 3 * 8 + 8));
  EXPECT_EQ(work[Stage::kHead].flops, 2.0 * 8 * 10);  // one wanted row
  EXPECT_EQ(work[Stage::kHead].bytes, 4.0 * 8 * 10);
  EXPECT_EQ(work[Stage::kMlp].flops, 0.0);
  EXPECT_EQ(work[Stage::kOther].bytes, 0.0);
}

TEST(StageWork, CountsTheKeysThatRowsSee) {
  for (const int64_t window : {0, 1, 2, 5, 8, 100}) {
    for (const int64_t begin : {0, 1, 4, 7, 8, 30}) {
      for (const int64_t count : {1, 2, 6, 20}) {
        int64_t seen = 0;
        std::set<int64_t> read;
        for (int64_t p = begin; p < begin + count; ++p) {
          for (int64_t key = 0; key <= p; ++key) {
            if (window != 0 && key <= p - window) continue;
            ++seen;
            read.insert(key);
          }
        }
        const auto attention = Work(OneLayer(window), {{begin, count}})[Stage::kAttention];
        EXPECT_EQ(attention.flops, 32.0 * static_cast<double>(seen))
            << window << " " << begin << " " << count;
        EXPECT_EQ(attention.bytes, 32.0 * static_cast<double>(read.size()))
            << window << " " << begin << " " << count;
      }
    }
  }
}

TEST(StageWork, OfAStepIsTheSumOverItsSequencesButForTheWeights) {
  const auto both = Work(OneLayer(), {{0, 5}, {9, 1}});
  const auto first = Work(OneLayer(), {{0, 5}});
  const auto second = Work(OneLayer(), {{9, 1}});
  for (const Stage stage : {Stage::kProjections, Stage::kAttention, Stage::kExperts}) {
    EXPECT_EQ(both[stage].flops, first[stage].flops + second[stage].flops) << NameOf(stage);
  }
  EXPECT_EQ(both[Stage::kProjections].bytes, first[Stage::kProjections].bytes);
  EXPECT_EQ(both[Stage::kAttention].bytes,
            first[Stage::kAttention].bytes + second[Stage::kAttention].bytes);
}

TEST(StageWork, ReadsWeightsAndCachesInTheirFormats) {
  NumberFormats formats;
  formats.experts = 4.25;
  formats.kv_cache = 8.25;
  formats.projections = 16.0;
  formats.head = 6.25;
  const auto floats = Work(OneLayer(), {{0, 3}});
  const auto work = Work(OneLayer(), {{0, 3}}, formats);
  const auto ratio = [&](Stage stage) { return work[stage].bytes / floats[stage].bytes; };
  EXPECT_DOUBLE_EQ(ratio(Stage::kExperts), 4.25 / 32);
  EXPECT_DOUBLE_EQ(ratio(Stage::kAttention), 8.25 / 32);
  EXPECT_DOUBLE_EQ(ratio(Stage::kProjections), 0.5);
  EXPECT_DOUBLE_EQ(ratio(Stage::kHead), 6.25 / 32);
  EXPECT_EQ(ratio(Stage::kRouter), 1.0);
}

TEST(StageWork, ReadsTheChosenExpertsOnly) {
  EXPECT_EQ(Work(OneLayer(), {{0, 1}}, {}, 2.0)[Stage::kExperts].bytes, 4.0 * 2 * 3 * 8 * 3);
}

TEST(StageWork, OfDenseLayersSharedExpertsAndNorms) {
  DecoderSpec spec = OneLayer();
  const auto plain = Work(spec, {{0, 3}});
  spec.moe.shared = SharedExpertSpec{5, /*has_gate=*/false};
  spec.layers[0].mlp = spec.moe;
  const auto shared = Work(spec, {{0, 3}});
  EXPECT_EQ(shared[Stage::kMlp].flops, 2.0 * 3 * 3 * 8 * 5);
  EXPECT_EQ(shared[Stage::kMlp].bytes, 4.0 * 3 * 8 * 5);
  EXPECT_EQ(shared[Stage::kResidual].bytes, 1.5 * plain[Stage::kResidual].bytes);
  spec.moe.shared->has_gate = true;
  spec.layers[0].mlp = spec.moe;
  const auto gated = Work(spec, {{0, 3}});
  EXPECT_EQ(gated[Stage::kMlp].flops, 2.0 * 3 * 3 * 8 * 5 + 2.0 * 3 * 8);
  EXPECT_EQ(gated[Stage::kResidual].bytes, plain[Stage::kResidual].bytes);
  spec.layers[0].mlp = MlpSpec{7, {}};
  std::get<AttentionSpec>(spec.layers[0].mixer).query_key_norm = true;
  const auto dense = Work(spec, {{0, 3}}, {}, 0.0);
  EXPECT_EQ(dense[Stage::kMlp].flops, 2.0 * 3 * 3 * 8 * 7);
  EXPECT_EQ(dense[Stage::kRouter].flops + dense[Stage::kExperts].flops, 0.0);
  EXPECT_EQ(dense[Stage::kExperts].bytes + dense[Stage::kCombine].bytes, 0.0);
  EXPECT_EQ(dense[Stage::kNorms].bytes, plain[Stage::kNorms].bytes + 2 * 4.0 * 3 * (8 + 4));
}

TEST(StageWork, OfFusedKernelsIsChargedToTheLastOfTheirStages) {
  DecoderSpec spec = OneLayer();
  std::get<AttentionSpec>(spec.layers[0].mixer).query_key_norm = true;
  const SequenceRows rows{0, 3};
  const StageFusion fusion{.heads = true, .sums = true, .row_bits = 16.0};
  const auto work = WorkOf(spec, {}, {{&rows, 1}, 1, 4.0}, fusion);
  // The branches' norms read the sum so far and what is added to it, and write the sum and its
  // norm: of attention 8 values a token, of the experts K rows of 8 in 16 bits.
  const double attention = 3 * 8 * 4.0 * 4;
  const double experts = 3 * 8 * (3 * 4.0 + 2 * 2.0);
  EXPECT_EQ(work[Stage::kNorms].bytes, attention + experts + 2 * 4.0 * 8);
  EXPECT_EQ(work[Stage::kCombine].bytes + work[Stage::kResidual].bytes, 0.0);
  // Reads queries, keys and values and writes queries in 16 bits, keys and values in the cache's.
  EXPECT_EQ(work[Stage::kKvWrite].bytes, 3 * 2.0 * (8 + 4 + 4 + 8) + 3 * 4.0 * (4 + 4));
  EXPECT_EQ(work[Stage::kRope].bytes, 0.0);
  EXPECT_EQ(work[Stage::kAttention].bytes, Work(spec, {{0, 3}})[Stage::kAttention].bytes);
}

TEST(StageWork, OfNoWantedRowsNeedsNoHead) {
  const SequenceRows rows{0, 3};
  const auto work = WorkOf(OneLayer(), {}, {{&rows, 1}, 0, 4.0});
  EXPECT_EQ(work[Stage::kHead].flops + work[Stage::kHead].bytes, 0.0);
}

TEST(StageWork, StagesHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kNumStages; ++i) names.insert(NameOf(static_cast<Stage>(i)));
  EXPECT_EQ(names.size(), kNumStages);
  EXPECT_FALSE(names.contains(""));
}

}  // namespace
}  // namespace expertile
