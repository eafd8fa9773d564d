// A sticky error: every call after it fails in one line, and the process goes on. In a program of
// its own, whose device is lost to it. Skipped without one.
#include <gtest/gtest.h>

#include "model/checkpoint.h"
#include "targets/cuda/cuda_program.h"
#include "targets/cuda/device.h"
#include "targets/cuda/kernels/bench.h"
#include "targets/target_row.h"
#include "tests/golden.h"

namespace expertile::cuda {
namespace {

// A prompt of tokens 0 to 8.
Status RunPrompt(TargetSession& session, std::span<float> logits) {
  constexpr int32_t kTokens[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  constexpr int32_t kZeros[std::size(kTokens)] = {};
  constexpr int32_t kLast[] = {8};
  constexpr int32_t kBlocks[] = {0};
  const BlockTable table(kBlocks);
  Step step;
  step.token_ids = kTokens;
  step.sequences = kZeros;
  step.positions = step.rope_positions = kTokens;
  step.block_tables = {&table, 1};
  step.logit_rows = kLast;
  return session.Run(step, logits);
}

TEST(StickyError, EndsTheSessionInOneLineAndNotTheProcess) {
  if (const auto device = FindDevice(); !device) GTEST_SKIP() << device.error().message;
  const TargetRow row = CudaTarget();
  const auto checkpoint = LoadCheckpoint(Golden::ModelPath("tiny-qwen3_moe")).value();
  TargetOptions options;
  options.arithmetic = MatmulArithmetic::kBFloat16;
  options.ctx_len = options.max_step_tokens = 64;
  const auto program = PackAndOpen(row, *checkpoint, options).value();
  auto session = program->NewSession().value();
  std::vector<float> logits(checkpoint->config.spec.vocab_size);
  ASSERT_TRUE(RunPrompt(*session, logits));
  // Writes where nothing is.
  ASSERT_EQ(LaunchFill(Fill::kBytes, reinterpret_cast<void*>(16), 1 << 20, 0.0f, nullptr),
            cudaSuccess);
  ASSERT_NE(cudaDeviceSynchronize(), cudaSuccess);
  for (int i = 0; i < 3; ++i) {  // the third time a step would be replayed
    const Status lost = RunPrompt(*session, logits);
    ASSERT_FALSE(lost);
    EXPECT_TRUE(lost.error().message.starts_with("cuda: ")) << lost.error().message;
    EXPECT_EQ(lost.error().message.find('\n'), std::string::npos) << lost.error().message;
  }
  session.reset();
  EXPECT_FALSE(program->NewSession());
  EXPECT_FALSE(PackAndOpen(row, *checkpoint, options));
}

}  // namespace
}  // namespace expertile::cuda
