// The machine's limits, measured: multiply-add rate with operands in registers, read bandwidth.
// Not a benchmark of our kernels (targets/cpu/moe_bench.h).
#pragma once

#include "base/page_memory.h"
#include "base/worker_pool.h"
#include "expertile/result.h"
#include "targets/cpu/kernel_table.h"

namespace expertile::cpu {

// Per second, all workers together.
struct Roof {
  double float32_flops = 0.0;   // 2 per multiply-add
  double bfloat16_flops = 0.0;  // bfloat16 products into float32 sums
  double int8_ops = 0.0;        // int8 products into int32 sums
  double read_bytes = 0.0;
};

// Measures again and again, so that a bench can alternate it with what it measures.
class RoofProbe {
 public:
  // table and pool must outlive the probe. Errors: the 1 GiB read buffer cannot be allocated.
  static Result<RoofProbe> Create(const KernelTable& table, WorkerPool& pool);
  // One sample, about 0.1 s.
  Roof Measure();

 private:
  RoofProbe(const KernelTable& table, WorkerPool& pool) : table_(&table), pool_(&pool) {}
  double Rate(int64_t (*kernel)(int64_t repeats)) const;
  double ReadRate() const;

  const KernelTable* table_;
  WorkerPool* pool_;
  PageMemory buffer_;
};

// Medians of several samples.
Result<Roof> MeasureRoof(const KernelTable& table, WorkerPool& pool);
Roof MedianRoof(std::vector<Roof> samples);

}  // namespace expertile::cpu
