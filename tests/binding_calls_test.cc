// What a binding calls beside the rest: stopping a step, KV state as values, generation step by
// step.
#include <gtest/gtest.h>

#include <numeric>

#include "expertile/generation.h"
#include "expertile/model.h"

namespace expertile {
namespace {

constexpr const char* kModel = EXPERTILE_SOURCE_DIR "/models/tiny-qwen3_moe";

Program Compile(const std::string& target, int64_t prefill_seq_len = 16) {
  CompileOptions options;
  options.target = target;
  options.ctx_len = 64;
  options.batch_size = 2;
  options.prefill_seq_len = prefill_seq_len;
  options.num_cores = 2;
  return Model::Load(kModel).value().Compile(options).value();
}

std::vector<int32_t> Tokens(size_t count) {
  std::vector<int32_t> ids(count);
  std::iota(ids.begin(), ids.end(), 5);
  return ids;
}

class OnTarget : public testing::TestWithParam<const char*> {};

TEST_P(OnTarget, ACancelledCallLeavesTheSessionAsItWas) {
  const Program program = Compile(GetParam());
  Session session = program.NewSession().value();
  const std::vector<int32_t> ids = Tokens(40);
  const Extension prompt{0, ids};
  const Extension first{1, std::span(ids).first(3)};
  const auto expected = program.NewSession().value().Run({&prompt, 1}).value();
  ASSERT_TRUE(session.Run({&first, 1}));
  int asked = 0;
  const int num_layers = program.description().num_layers;
  // Before any layer; in the middle of the second of three steps.
  for (const int limit : {0, num_layers + num_layers / 2}) {
    asked = 0;
    session.SetIsCancelled([&] { return asked++ >= limit; });
    const auto stopped = session.Run({&prompt, 1});
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(asked, limit + 1);
    EXPECT_EQ(session.length(0).value(), 0);
    EXPECT_EQ(session.length(1).value(), 3);
  }
  session.SetIsCancelled(nullptr);
  EXPECT_EQ(session.Run({&prompt, 1}).value(), expected);
}

TEST_P(OnTarget, KvStateGoesOnInAnotherSession) {
  const Program program = Compile(GetParam());
  const Program other_program = Compile(GetParam(), 1);
  Session session = program.NewSession().value();
  Session other = other_program.NewSession().value();
  const std::vector<int32_t> ids = Tokens(21);
  const Extension prompt{0, ids};
  ASSERT_FALSE(session.ReadKv(0));
  ASSERT_TRUE(session.Run({&prompt, 1}));
  const KvState kv = session.ReadKv(0).value();
  ASSERT_EQ(kv.layers.size(), static_cast<size_t>(program.description().num_layers));
  ASSERT_TRUE(other.WriteKv(1, kv));
  EXPECT_FALSE(other.WriteKv(1, kv));  // it is not empty
  const Extension here{0, std::span(ids).first(1)};
  const Extension there{1, std::span(ids).first(1)};
  EXPECT_EQ(session.Run({&here, 1}).value(), other.Run({&there, 1}).value());
}

TEST_P(OnTarget, KvStateOfOtherSizesIsRefused) {
  const Program program = Compile(GetParam());
  Session session = program.NewSession().value();
  const std::vector<int32_t> ids = Tokens(5);
  const Extension prompt{0, ids};
  ASSERT_TRUE(session.Run({&prompt, 1}));
  const KvState good = session.ReadKv(0).value();
  const auto refused = [&](auto change) {
    KvState kv = good;
    change(kv);
    return !session.WriteKv(1, kv) && session.length(1).value() == 0;
  };
  EXPECT_TRUE(refused([](KvState& kv) { kv.layers.pop_back(); }));
  EXPECT_TRUE(refused([](KvState& kv) { kv.layers[0].num_kv_heads += 1; }));
  EXPECT_TRUE(refused([](KvState& kv) { kv.layers[1].keys.pop_back(); }));
  EXPECT_TRUE(refused([](KvState& kv) { kv.num_tokens = 0; }));
  EXPECT_TRUE(refused([](KvState& kv) { kv.num_tokens = 65; }));
  EXPECT_TRUE(refused([](KvState& kv) { kv.next_deltas.pop_back(); }));
  EXPECT_TRUE(refused([](KvState& kv) { kv.next_deltas[2] = -100; }));
  EXPECT_TRUE(refused([](KvState& kv) { kv.next_deltas.back() = 1; }));
  EXPECT_TRUE(session.WriteKv(1, good));
}

TEST_P(OnTarget, GenerationStepByStepIsGenerate) {
  const Program program = Compile(GetParam());
  Session session = program.NewSession().value();
  const std::vector<int32_t> a = Tokens(9);
  const std::vector<int32_t> b = Tokens(4);
  const Prompt prompts[] = {{a}, {b}};
  const GenerationOptions options{6, {}, {}};
  std::vector<std::vector<int32_t>> told(2);
  const auto expected = Generate(session, prompts, options, [&](size_t prompt, int32_t id) {
                          told[prompt].push_back(id);
                          return prompt == 0 || told[1].size() < 2;
                        }).value();
  EXPECT_EQ(expected.token_ids, told);
  EXPECT_EQ(expected.finish_reasons,
            (std::vector{FinishReason::kMaxTokens, FinishReason::kStopped}));
  Session other = program.NewSession().value();
  auto generation = Generation::Start(other, prompts, options).value();
  // A step that is stopped can be made again.
  bool stops = true;
  other.SetIsCancelled([&] { return stops; });
  size_t num_steps = 0;
  while (true) {
    stops = num_steps == 3;
    auto tokens = generation.Next();
    if (stops) {
      EXPECT_EQ(tokens.error().code, ErrorCode::kCancelled);
      stops = false;
      tokens = generation.Next();
    }
    ASSERT_TRUE(tokens);
    if (tokens->empty()) break;
    if (++num_steps == 2) generation.Stop(1);
  }
  const Generated generated = generation.Finish();
  EXPECT_EQ(generated.token_ids, expected.token_ids);
  EXPECT_EQ(generated.finish_reasons, expected.finish_reasons);
  EXPECT_EQ(generated.statistics.new_tokens, 8);
}

INSTANTIATE_TEST_SUITE_P(Targets, OnTarget, testing::Values("cpu", "reference"),
                         [](const auto& target) { return std::string(target.param); });

}  // namespace
}  // namespace expertile
