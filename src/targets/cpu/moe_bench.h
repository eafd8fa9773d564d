// Times one MoE layer on random weights and skewed routing, next to the machine's measured roof.
// Not a command: the CLI and bench/ print what it returns.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/worker_pool.h"
#include "expertile/result.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/moe.h"
#include "targets/cpu/packed_weights.h"
#include "targets/cpu/roof.h"
#include "targets/target.h"

namespace expertile::cpu {

struct MoeBenchOptions {
  int num_experts = 128;            // E
  int experts_per_token = 8;        // K
  int64_t hidden_size = 2048;       // H
  int64_t intermediate_size = 768;  // I
  GatedMlpSpec mlp = {};
  WeightFormat weights = WeightFormat::kFloat32;
  ComputeType compute = ComputeType::kFloat32;
  int64_t num_tokens = 512;                   // T
  std::vector<MoeBlocking> blockings = {{}};  // one or more: run in turns
  std::vector<int32_t> routing = {};          // ids [T,K] as they were recorded; empty: random ones
  double skew = 0.0;    // s of the Zipf law that expert popularity follows; 0 = uniform
  int num_repeats = 7;  // timed turns, each after one sample of the roof
  uint64_t seed = 1;
};

struct MoeBenchResult {
  double seconds_median = 0.0;
  double useful_flops = 0.0;      // 2 * 3 * H * I for each assignment
  double weight_bytes = 0.0;      // of the experts that were chosen
  Roof roof;                      // medians of the samples taken between the runs
  double roof_flops = 0.0;        // roof's, of the compute type
  double fraction_of_roof = 0.0;  // max(arithmetic time, reading time) / seconds_median
  double nsp_imbalance = 1.0;     // max / mean time that the NSPs' experts took (median run)
  double worker_imbalance = 1.0;  // max / mean busy time of the workers (median run)
  double padding_waste = 0.0;     // rows computed beyond those routed, as a fraction: none on cpu
  std::vector<double> seconds;    // of every run, in order
};

// One result for each of options.blockings. A turn runs each once, another one first every time.
// Errors: sizes that Create of the parts refuses, out of memory.
Result<std::vector<MoeBenchResult>> BenchMoe(const KernelTable& table,
                                             const MoeBenchOptions& options, WorkerPool& pool);

}  // namespace expertile::cpu
