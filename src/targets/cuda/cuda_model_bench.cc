// Times prefill and decode of a whole model on the device, with weights made there: a checkpoint of
// its size is not needed. Not a command of the product: EXPERTILE_BUILD_TESTS builds it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "targets/cuda/cuda_bench.h"
#include "targets/cuda/cuda_program.h"
#include "targets/cuda/random_weights.h"

namespace expertile::cuda {
namespace {

AttentionSpec AttentionFor(int heads, int kv_heads, int64_t D, int64_t window, bool is_gpt_oss) {
  AttentionSpec attention;
  attention.num_heads = heads;
  attention.num_kv_heads = kv_heads;
  attention.head_dim = D;
  attention.window = window;
  attention.scale = 1.0f / std::sqrt(static_cast<float>(D));
  attention.query_key_norm = !is_gpt_oss;
  attention.has_sinks = attention.has_bias = attention.has_output_bias = is_gpt_oss;
  return attention;
}

// The sizes of Qwen3-30B-A3B, or of gpt-oss-20b.
DecoderSpec SpecOf(bool is_gpt_oss, int num_layers) {
  DecoderSpec spec;
  spec.vocab_size = is_gpt_oss ? 201088 : 151936;
  spec.hidden_size = is_gpt_oss ? 2880 : 2048;
  spec.max_positions = 1 << 17;
  const int64_t D = is_gpt_oss ? 64 : 128;
  for (int64_t j = 0; j < D / 2; ++j) {
    spec.rope.inv_freq.push_back(
        static_cast<float>(std::pow(1e6, -2.0 * static_cast<double>(j) / static_cast<double>(D))));
  }
  spec.moe.num_experts = is_gpt_oss ? 32 : 128;
  spec.moe.intermediate_size = is_gpt_oss ? 2880 : 768;
  spec.moe.has_bias = spec.moe.router.has_bias = is_gpt_oss;
  spec.moe.router.experts_per_token = is_gpt_oss ? 4 : 8;
  spec.moe.router.score =
      is_gpt_oss ? RouterScore::kTopKThenSoftmax : RouterScore::kSoftmaxThenTopK;
  spec.moe.router.normalize = !is_gpt_oss;
  if (is_gpt_oss) spec.moe.gated = {GatedActivation::kClampedSwiGlu, 7.0f, 1.702f};
  for (int i = 0; i < num_layers; ++i) {
    const AttentionSpec attention = is_gpt_oss ? AttentionFor(64, 8, D, i % 2 == 0 ? 128 : 0, true)
                                               : AttentionFor(32, 4, D, 0, false);
    spec.layers.push_back({attention, spec.moe});
  }
  return spec;
}

// A sequence that a session's steps extend.
struct Prompt {
  std::vector<int32_t> ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> sequences;
  std::vector<int32_t> blocks;

  explicit Prompt(int64_t length, int64_t vocab_size) {
    uint32_t state = 1;
    for (int64_t t = 0; t < length; ++t) {
      state = state * 1664525u + 1013904223u;
      ids.push_back(static_cast<int32_t>((state >> 8) % vocab_size));
      positions.push_back(static_cast<int32_t>(t));
      sequences.push_back(0);
    }
    for (int64_t b = 0; b * kKvBlockSize < length; ++b) blocks.push_back(static_cast<int32_t>(b));
  }
  Status Run(TargetSession& session, int64_t first, int64_t count, std::span<float> logits) const {
    const BlockTable table(blocks);
    const auto part = [&](const std::vector<int32_t>& list) {
      return std::span(list).subspan(first, count);
    };
    const std::vector<int32_t> wanted = {static_cast<int32_t>(count - 1)};
    Step step;
    step.token_ids = part(ids);
    step.sequences = part(sequences);
    step.positions = step.rope_positions = part(positions);
    step.block_tables = {&table, 1};
    step.logit_rows = wanted;
    return session.Run(step, logits);
  }
};

template <typename Work>
Result<double> MedianMilliseconds(int runs, Work work) {
  std::vector<double> times;
  for (int i = 0; i < runs + 2; ++i) {  // the first two warm up, and record
    const auto start = std::chrono::steady_clock::now();
    EXPERTILE_RETURN_IF_ERROR(work());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i >= 2) times.push_back(taken.count() * 1e3);
  }
  std::ranges::sort(times);
  return times[times.size() / 2];
}

Status Bench(bool is_gpt_oss, bool is_mxfp4, int num_layers, int num_nsp) {
  const DecoderSpec spec = SpecOf(is_gpt_oss, num_layers);
  constexpr int64_t kMaxTokens = 8192;
  TargetOptions options;
  options.arithmetic = MatmulArithmetic::kBFloat16;
  options.blocking = {num_nsp, 256};
  options.ctx_len = kMaxTokens + 64;
  options.max_step_tokens = kMaxTokens;
  options.isa = "sm_90a";
  const TargetRow row = CudaTarget();
  EXPERTILE_ASSIGN(const auto program,
                   row.in_process.open({spec, std::nullopt}, options,
                                       std::make_shared<RandomWeights>(is_mxfp4)));
  EXPERTILE_ASSIGN(const auto session, program->NewSession());
  const Prompt prompt(kMaxTokens + 64, spec.vocab_size);
  std::vector<float> logits(spec.vocab_size);
  const std::string name = std::string(is_gpt_oss ? "gpt-oss-20b" : "qwen3-30b-a3b") +
                           (is_mxfp4 ? " mxfp4" : " bfloat16");
  for (const int64_t T : {int64_t{512}, int64_t{2048}, int64_t{8192}}) {
    EXPERTILE_ASSIGN(const double prefill,
                     MedianMilliseconds(5, [&] { return prompt.Run(*session, 0, T, logits); }));
    EXPERTILE_ASSIGN(const double decode,
                     MedianMilliseconds(9, [&] { return prompt.Run(*session, T, 1, logits); }));
    std::printf(
        "%s, %d layers, num_nsp %d: T %lld: prefill %.2f ms, %.0f tokens/s; decode %.3f ms\n",
        name.c_str(), num_layers, num_nsp, static_cast<long long>(T), prefill,
        static_cast<double>(T) / prefill * 1e3, decode);
    std::fflush(stdout);
  }
  return {};
}

}  // namespace
}  // namespace expertile::cuda

// qwen3|gpt-oss|gpt-oss-mxfp4 LAYERS NUM_NSP
int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string model = argv[1];
  const auto roof = expertile::cuda::MeasureRoof();
  if (roof) {
    std::printf("%s: copy %.0f GB/s, wgmma %.0f TFLOP/s\n", roof->isa.c_str(), roof->read_gbs,
                roof->bfloat16_tflops);
  }
  const auto outcome = expertile::cuda::Bench(model != "qwen3", model == "gpt-oss-mxfp4",
                                              std::atoi(argv[2]), std::atoi(argv[3]));
  if (!outcome) std::printf("%s\n", outcome.error().message.c_str());
  return outcome ? 0 : 1;
}
