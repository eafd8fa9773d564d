// MoeExperts: the experts of one MoE layer, packed for this machine's processor, and NSP-blocked
// runs of routed tokens through them. For whoever has weights and a router of their own.
// Not a model (model.h), and not the router.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "expertile/result.h"

namespace expertile {

enum class FloatFormat : uint8_t { kFloat32, kBFloat16 };

// One matrix of every expert, as it lies in memory: element (e, row, col) is number
// e strides[0] + row strides[1] + col strides[2] from `data` on. A bias has one row. So any layout
// will do: gate and up concatenated, interleaved, transposed.
struct ExpertMatrices {
  const void* data = nullptr;  // null: there is none
  FloatFormat format = FloatFormat::kFloat32;
  std::array<int64_t, 3> strides = {};
};

enum class ExpertActivation : uint8_t {
  kSilu,           // silu(gate) up
  kClampedSwiGlu,  // (clamp(up, -limit, limit) + 1) g sigmoid(alpha g), g = min(gate, limit)
};

// down(act(gate(x), up(x))) of every expert.
struct ExpertWeights {
  int num_experts = 0;            // E
  int64_t hidden_size = 0;        // H
  int64_t intermediate_size = 0;  // I
  ExpertMatrices gate;            // [E,I,H]
  ExpertMatrices up;              // [E,I,H]
  ExpertMatrices down;            // [E,H,I]
  ExpertMatrices gate_bias;       // [E,1,I]; all three biases or none
  ExpertMatrices up_bias;         // [E,1,I]
  ExpertMatrices down_bias;       // [E,1,H]
  ExpertActivation activation = ExpertActivation::kSilu;
  float limit = 0.0f;  // kClampedSwiGlu only
  float alpha = 1.0f;  // kClampedSwiGlu only
};

struct MoeExpertsOptions {
  // As in CompileOptions: none = blocking off, CompileOptions::kAutoNumNsp = what compiling
  // chooses.
  std::optional<int> num_nsp;
  int64_t packed_chunk_size = 256;                 // P >= 1, or CompileOptions::kAutoChunkSize
  int num_cores = 0;                               // workers; 0 = all processors
  FloatFormat arithmetic = FloatFormat::kFloat32;  // of matrix products
};

// Rows of values [T,H], one after another.
struct HiddenRows {
  const void* data = nullptr;
  FloatFormat format = FloatFormat::kFloat32;
};

class MoeExperts {
 public:
  // Copies the weights into panels, which takes a few times as long as reading them: do it once.
  // Weights keep their number format, but arithmetic kBFloat16 rounds those of float32. Errors:
  // sizes or num_nsp out of range, a matrix without data, no memory, a processor without AVX2.
  static Result<MoeExperts> Pack(const ExpertWeights& weights, const MoeExpertsOptions& options);
  MoeExperts(MoeExperts&&) noexcept;
  MoeExperts& operator=(MoeExperts&&) noexcept;
  ~MoeExperts();

  // out[t] = sum over k, in order, of weights[t,k] expert(ids[t,k])(hidden[t]), [T,H] in hidden's
  // format. K = ids.size() / T. A row of K ids -1 is padding: its output is zero. The same bits for
  // every num_nsp, packed_chunk_size, num_cores and T. Layers share workers: runs follow each
  // other. Errors, which leave `out` as it is: an id that is no expert's, sizes that do not fit, no
  // memory.
  Status Run(const HiddenRows& hidden, int64_t num_tokens, std::span<const int32_t> ids,
             std::span<const float> weights, void* out);

  int num_experts() const;
  int64_t hidden_size() const;
  int64_t intermediate_size() const;
  int64_t num_bytes() const;       // of the packed weights
  double packing_seconds() const;  // that Pack() took
  std::string isa() const;         // the instruction set of its kernels

 private:
  struct State;
  explicit MoeExperts(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace expertile
