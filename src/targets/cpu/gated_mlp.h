// A MLP that every token passes, over all workers: dense layers and shared experts.
// Not routed experts (targets/cpu/moe.h).
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/worker_pool.h"
#include "expertile/result.h"
#include "targets/cpu/gemm.h"
#include "targets/cpu/packed_weights.h"

namespace expertile::cpu {

// Owns the scratch for MLPs up to one size; one Run at a time. The output does not depend on the
// number of workers or of tokens.
class GatedMlp {
 public:
  // The most that Run will be given. Errors: out of memory.
  struct Limits {
    int64_t num_tokens;
    int64_t hidden_size;
    int64_t intermediate_size;
  };
  static Result<GatedMlp> Create(const KernelTable& table, ComputeType type, const Limits& limits,
                                 int num_workers);

  // out[t] = down(act(gate(x[t]), up(x[t]))); x and out [T, H]. Uses the pool's workers, at most as
  // many as at Create. Errors: sizes above the limits.
  Status Run(const float* x, int64_t num_tokens, const PackedMlp& mlp, const GatedMlpSpec& spec,
             WorkerPool& pool, float* out);

 private:
  GatedMlp(const KernelTable& table, ComputeType type, const Limits& limits)
      : gemm_(table, type), limits_(limits) {}

  // Rows [first, first + count) of x, all workers on each of the two products.
  void RunRows(const float* x, int64_t first, int64_t count, const PackedMlp& mlp,
               const GatedMlpSpec& spec, WorkerPool& pool, float* out);

  Gemm gemm_;
  Limits limits_;
  AlignedBuffer<std::byte> packed_;     // [rows of a block, H]
  AlignedBuffer<std::byte> activated_;  // [rows of a block, I]
  std::vector<PanelScratch> scratch_;
};

}  // namespace expertile::cpu
