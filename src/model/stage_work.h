// The stages of a forward pass, and the least that each has to do: FLOP and bytes, from shapes.
// Not a clock (targets/stage_clock.h), and not what a machine can do (targets/cpu/roof.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "model/decoder_spec.h"

namespace expertile {

// In the order of the forward pass.
enum class Stage : uint8_t {
  kEmbed,
  kNorms,
  kProjections,  // query, key, value and output
  kRope,
  kKvWrite,
  kAttention,
  kRouter,
  kExperts,
  kCombine,   // the weighted sums of the experts' rows
  kMlp,       // dense MLPs, shared experts and their gates
  kResidual,  // the branches' sums, an ungated shared expert's too
  kHead,
  kOther,  // what is between the ops, images and scales
};
inline constexpr size_t kNumStages = static_cast<size_t>(Stage::kOther) + 1;

// One value for each stage.
template <typename T>
struct PerStage : std::array<T, kNumStages> {
  using Base = std::array<T, kNumStages>;
  T& operator[](Stage stage) { return Base::operator[](static_cast<size_t>(stage)); }
  const T& operator[](Stage stage) const { return Base::operator[](static_cast<size_t>(stage)); }
};

// "KV write".
std::string_view NameOf(Stage stage);

// Bits of a stored value, block scales included.
struct NumberFormats {
  double embedding = 32.0;
  double projections = 32.0;
  double router = 32.0;
  double experts = 32.0;
  double mlp = 32.0;
  double head = 32.0;
  double kv_cache = 32.0;
};

// Rows of one sequence in a step: positions [begin, begin + count).
struct SequenceRows {
  int64_t begin = 0;
  int64_t count = 0;
};

struct StepShape {
  std::span<const SequenceRows> sequences;
  int64_t num_wanted_rows = 1;    // R, whose logits are wanted
  double num_experts_read = 0.0;  // different experts that the rows chose, summed over MoE layers
};

// What a target does in one kernel, which the stage named last is charged with: values between the
// two do not go through memory.
struct StageFusion {
  bool heads = false;      // the norms of heads, RoPE and the KV write
  bool sums = false;       // experts' sums, branches' sums and the norm that reads them
  double row_bits = 32.0;  // of a value of the rows that products leave to these kernels
};

struct StageWork {
  double flops = 0.0;
  double bytes = 0.0;
};

// Of one step. A multiply-add is 2 FLOP; attention is causal, a window counts as a window, and the
// LM head has the wanted rows only. A stage of products reads each weight once, attention each key
// and value that a row of its sequence sees once; the others are charged with their activations,
// float32 in memory, though small ones stay in a cache. Biases, softmax and activation functions
// are not counted.
PerStage<StageWork> WorkOf(const DecoderSpec& spec, const NumberFormats& formats,
                           const StepShape& step, const StageFusion& fusion = {});

}  // namespace expertile
