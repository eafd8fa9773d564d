// DESIGN 4.1: on one target and instruction set, logits are the same bits whatever the blocking,
// the chunks, the workers and the batch neighbours.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/sha256.h"
#include "expertile/generation.h"
#include "expertile/model.h"
#include "tests/golden.h"
#include "tests/sanitized.h"
#include "tests/subject.h"
#include "tests/target_here.h"

namespace expertile {
namespace {

// What may not change the answer. num_nsp 0 = blocking off.
struct Variations {
  std::vector<int> num_nsp;
  std::vector<int64_t> packed_chunk_size;
  std::vector<int64_t> prefill_seq_len;
  std::vector<int> workers;
};

class OneAnswerTest : public testing::TestWithParam<Subject> {
 protected:
  void SetUp() override { EXPERTILE_SKIP_UNLESS_HERE(GetParam().target); }

  CompileOptions Options() const {
    CompileOptions options = OptionsOf(GetParam());
    options.num_cores = 1;
    return options;
  }

  // A prompt of `count` ids spread over the vocabulary, different for every seed.
  std::vector<int32_t> Prompt(int64_t count, uint32_t seed) const {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < count; ++i) {
      seed = seed * 1664525u + 1013904223u;
      ids.push_back(static_cast<int32_t>((seed >> 8) % 4000));  // below the special tokens
    }
    return ids;
  }

  static std::vector<expertile::Prompt> PromptsOf(std::span<const std::vector<int32_t>> ids) {
    std::vector<expertile::Prompt> prompts;
    for (const auto& prompt : ids) prompts.push_back({prompt});
    return prompts;
  }

  std::string LogitsHash(const CompileOptions& options, const std::vector<int32_t>& ids) const {
    Session session = model_.Compile(options).value().NewSession().value();
    const Extension prompt{0, ids};
    const auto logits = session.Prefill({&prompt, 1}, LogitsWanted::kAll).value();
    return Sha256Hex(std::as_bytes(std::span(logits)));
  }

  size_t CountAnswers(const Variations& variations, const std::vector<int32_t>& ids) const {
    std::map<std::string, int> hashes;
    for (const int num_nsp : variations.num_nsp) {
      for (const int64_t packed_chunk_size : variations.packed_chunk_size) {
        for (const int64_t prefill_seq_len : variations.prefill_seq_len) {
          for (const int workers : variations.workers) {
            CompileOptions options = Options();
            if (num_nsp > 0) options.moe_prefill_num_nsp = num_nsp;
            options.moe_prefill_packed_chunk_size = packed_chunk_size;
            options.prefill_seq_len = prefill_seq_len;
            options.num_cores = workers;
            ++hashes[LogitsHash(options, ids)];
          }
        }
      }
    }
    return hashes.size();
  }

  Model model_ = Model::Load(Golden::ModelPath(GetParam().model)).value();
};

TEST_P(OneAnswerTest, WhateverTheBlockingChunksAndWorkers) {
  const bool is_quick = GetParam().target != "reference";
  if (kIsSanitized) {
    EXPECT_EQ(CountAnswers({{0, 5}, {7, 256}, {8, 512}, {1, 2}}, Prompt(is_quick ? 140 : 20, 1)),
              1u);
  } else if (is_quick && GetParam().model == "tiny-qwen3_moe" &&
             !GetParam().format.starts_with("mx")) {
    EXPECT_EQ(
        CountAnswers({{0, 1, 2, 3, 5, 16, 31, 32}, {1, 7, 64, 256, 4096}, {32, 100, 512}, {1, 2}},
                     Prompt(130, 1)),
        1u);
  } else {
    // Longer than the windows; the reference is slow.
    EXPECT_EQ(
        CountAnswers({{0, 5, 16}, {7, 256}, {32, 512}, {1, 2}}, Prompt(is_quick ? 200 : 40, 1)),
        1u);
  }
}

TEST_P(OneAnswerTest, WhateverTheSplitIntoPrefillAndDecode) {
  const std::vector<int32_t> ids = Prompt(40, 2);
  const Program program = model_.Compile(Options()).value();
  Session whole = program.NewSession().value();
  const Extension prompt{0, ids};
  const auto expected = whole.Prefill({&prompt, 1}).value();
  for (const size_t prefilled : {1, 17, 39}) {
    Session session = program.NewSession().value();
    const Extension head{0, std::span(ids).first(prefilled)};
    std::vector<float> logits = session.Prefill({&head, 1}).value();
    for (size_t t = prefilled; t < ids.size(); ++t) {
      const Extension next{0, std::span(ids).subspan(t, 1)};
      logits = session.Decode({&next, 1}).value();
    }
    EXPECT_EQ(logits, expected) << prefilled << " tokens prefilled";
  }
}

TEST_P(OneAnswerTest, WhateverTheBatchNeighbours) {
  const std::vector<std::vector<int32_t>> prompts = {Prompt(33, 3), Prompt(1, 4), Prompt(70, 5)};
  CompileOptions options = Options();
  GenerationOptions generation;
  generation.max_new_tokens = 6;
  std::vector<std::vector<int32_t>> alone;
  for (const auto& prompt : prompts) {
    Session session = model_.Compile(options).value().NewSession().value();
    alone.push_back(Generate(session, PromptsOf({&prompt, 1}), generation).value().token_ids[0]);
  }
  options.batch_size = 3;
  options.prefill_seq_len = 16;
  options.moe_prefill_num_nsp = 7;
  Session session = model_.Compile(options).value().NewSession().value();
  EXPECT_EQ(Generate(session, PromptsOf(prompts), generation).value().token_ids, alone);
}

TEST_P(OneAnswerTest, WhateverThePadding) {
  constexpr int64_t kPadded = 40;
  const std::vector<std::vector<int32_t>> prompts = {Prompt(33, 3), Prompt(1, 4)};
  CompileOptions options = Options();
  options.batch_size = 2;
  options.prefill_seq_len = 16;  // no divisor of a prompt's length
  Session session = model_.Compile(options).value().NewSession().value();
  std::vector<int32_t> right = prompts[0];
  right.resize(kPadded, kPaddingToken);
  std::vector<int32_t> left(kPadded - 1, kPaddingToken);
  left.push_back(prompts[1][0]);
  const Extension padded[] = {{0, right}, {1, left}};
  const auto logits = session.Prefill(padded, LogitsWanted::kAll).value();
  EXPECT_EQ(session.length(0).value(), 33);
  EXPECT_EQ(session.length(1).value(), 1);
  const int64_t V = static_cast<int64_t>(logits.size()) / (2 * kPadded);
  for (int64_t sequence : {0, 1}) {
    Session alone = model_.Compile(Options()).value().NewSession().value();
    const Extension prompt{0, prompts[sequence]};
    const auto expected = alone.Prefill({&prompt, 1}, LogitsWanted::kAll).value();
    const int64_t first = sequence == 0 ? 0 : 2 * kPadded - 1;  // rows of the padded batch
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), logits.begin() + first * V));
  }
  EXPECT_TRUE(std::all_of(logits.begin() + 33 * V, logits.end() - V,
                          [](float logit) { return logit == 0.0f; }));
  const std::vector<int32_t> nothing(3, kPaddingToken);
  const Extension empty{0, nothing};
  EXPECT_FALSE(session.Prefill({&empty, 1}));
}

TEST_P(OneAnswerTest, WhateverWasInTheSequenceBefore) {
  const std::vector<int32_t> ids = Prompt(20, 6);
  const Program program = model_.Compile(Options()).value();
  Session session = program.NewSession().value();
  const Extension prompt{0, ids};
  const auto expected = session.Prefill({&prompt, 1}).value();
  ASSERT_TRUE(session.Clear(0));
  const std::vector<int32_t> longer = Prompt(90, 7);
  const Extension other{0, longer};
  ASSERT_TRUE(session.Prefill({&other, 1}));
  ASSERT_TRUE(session.Clear(0));
  EXPECT_EQ(session.Prefill({&prompt, 1}).value(), expected);
}

std::vector<Subject> AllSubjects() {
  std::vector<Subject> subjects;
  for (const char* model :
       {"tiny-gpt_oss", "tiny-granitemoe", "tiny-qwen3_moe", "tiny-qwen3_vl_moe"}) {
    subjects.push_back({model, "reference", "float32"});
    subjects.push_back({model, "cpu", "float32"});
    subjects.push_back({model, "cpu", "bfloat16"});
    subjects.push_back({model, "cpu", "mx"});
    subjects.push_back({model, "cuda", "bfloat16"});
    subjects.push_back({model, "cpu", "mxint8"});
  }
  return subjects;
}

INSTANTIATE_TEST_SUITE_P(AllTargets, OneAnswerTest, testing::ValuesIn(AllSubjects()),
                         [](const auto& subject) { return WordOf(subject.param); });

}  // namespace
}  // namespace expertile
