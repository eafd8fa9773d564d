// DESIGN 4.1: on one target and instruction set, logits are the same bits whatever the blocking,
// the chunks, the workers and the batch neighbours.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/sha256.h"
#include "expertile/generation.h"
#include "expertile/model.h"
#include "tests/golden.h"

namespace expertile {
namespace {

const Model& TinyModel() {
  static const Model model = Model::Load(Golden::ModelPath("tiny-qwen3_moe")).value();
  return model;
}

// A prompt of `count` ids spread over the vocabulary, different for every seed.
std::vector<int32_t> Prompt(int64_t count, uint32_t seed) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    ids.push_back(static_cast<int32_t>((seed >> 8) % TinyModel().description().vocab_size));
  }
  return ids;
}

std::string LogitsHash(const CompileOptions& options, const std::vector<int32_t>& ids) {
  Session session = TinyModel().Compile(options).value().NewSession().value();
  const Extension prompt{0, ids};
  const auto logits = session.Prefill({&prompt, 1}, LogitsWanted::kAll).value();
  return Sha256Hex(std::as_bytes(std::span(logits)));
}

class OneAnswerTest : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  CompileOptions Options() const {
    CompileOptions options;
    options.target = std::get<0>(GetParam());
    options.dtype = std::get<1>(GetParam());
    options.num_cores = 1;
    return options;
  }
};

TEST_P(OneAnswerTest, WhateverTheBlockingChunksAndWorkers) {
  const std::vector<int32_t> ids = Prompt(std::get<0>(GetParam()) == "reference" ? 40 : 130, 1);
  std::map<std::string, int> hashes;
  for (const int num_nsp : {0, 1, 2, 3, 5, 16, 31, 32}) {
    for (const int64_t packed_chunk_size : {1, 7, 64, 256, 4096}) {
      if (num_nsp == 0 && packed_chunk_size != 1) continue;  // no chunks without blocking
      for (const int64_t prefill_seq_len : {32, 100, 512}) {
        for (const int workers : {1, 2}) {
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
  EXPECT_EQ(hashes.size(), 1u);
}

TEST_P(OneAnswerTest, WhateverTheSplitIntoPrefillAndDecode) {
  const std::vector<int32_t> ids = Prompt(40, 2);
  CompileOptions options = Options();
  const Program program = TinyModel().Compile(options).value();
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
    Session session = TinyModel().Compile(options).value().NewSession().value();
    alone.push_back(Generate(session, std::span(&prompt, 1), generation).value().token_ids[0]);
  }
  options.batch_size = 3;
  options.prefill_seq_len = 16;
  options.moe_prefill_num_nsp = 7;
  Session session = TinyModel().Compile(options).value().NewSession().value();
  EXPECT_EQ(Generate(session, prompts, generation).value().token_ids, alone);
}

INSTANTIATE_TEST_SUITE_P(AllTargets, OneAnswerTest,
                         testing::Values(std::tuple("reference", "float32"),
                                         std::tuple("cpu", "float32"),
                                         std::tuple("cpu", "bfloat16")));

}  // namespace
}  // namespace expertile
