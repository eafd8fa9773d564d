// A linear layer over all workers: projections and the LM head.
// Not an expert (targets/cpu/moe.h): every token uses the same weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/worker_pool.h"
#include "expertile/result.h"
#include "targets/cpu/gemm.h"
#include "targets/cpu/packed_weights.h"

namespace expertile::cpu {

// out [T, weights->out()] receives x [T, in] x weights + bias.
struct LinearProduct {
  const PackedMatrix* weights;
  float* out;
};

// Owns the scratch for linear layers up to one size; one Run at a time. The output does not depend
// on the number of workers or of tokens.
class Linear {
 public:
  // Errors: out of memory.
  static Result<Linear> Create(const KernelTable& table, ComputeType type, int64_t max_tokens,
                               int64_t max_in, int num_workers);

  // One or more products of the same x [T, in], which is packed once; all in one go of the pool,
  // which has at most as many workers as at Create. Errors: sizes above those of Create, inputs of
  // different sizes, weights of which only some are in MXINT8.
  Status Run(const float* x, int64_t num_tokens, std::span<const LinearProduct> products,
             WorkerPool& pool);

  // The same of one product of few columns, rows by rows where there are enough for all workers:
  // one packs some rows, multiplies them by all of the weights, and calls finish(begin, end) for
  // them, while they are in its cache. Calls of `finish` cover every row once.
  Status RunByRows(const float* x, int64_t num_tokens, const LinearProduct& product,
                   WorkerPool& pool, FunctionRef<void(int64_t begin, int64_t end)> finish);

 private:
  Linear(const KernelTable& table, ComputeType type, int64_t max_tokens, int64_t max_in)
      : gemm_(table, type), max_tokens_(max_tokens), max_in_(max_in) {}

  Status Check(int64_t num_tokens, std::span<const LinearProduct> products,
               const WorkerPool& pool) const;

  Gemm gemm_;
  int64_t max_tokens_;
  int64_t max_in_;
  AlignedBuffer<std::byte> packed_;  // [T, in]
  std::vector<PanelScratch> scratch_;
};

}  // namespace expertile::cpu
