// The Mixture-of-Experts block: routed tokens in, combined expert outputs out, NSP-blocked or not.
// Not the router (it is given ids and weights) and not the expert arithmetic (targets/cpu/gemm.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/worker_pool.h"
#include "dispatch/chunk_plan.h"
#include "dispatch/matched_index.h"
#include "dispatch/placement.h"
#include "expertile/result.h"
#include "targets/cpu/gemm.h"
#include "targets/cpu/packed_weights.h"

namespace expertile::cpu {

// One forward pass over T tokens. K ids kNoExpert mark a padded position: its output is zero.
struct RoutedTokens {
  const float* x;                  // [T, H]
  std::span<const int32_t> ids;    // [T, K]
  std::span<const float> weights;  // [T, K]
  int64_t num_tokens;              // T
  int experts_per_token;           // K
};

struct NspStats {
  int64_t num_rows = 0;
  double busy_seconds = 0.0;
};

// What one Run did; `nsp` is empty unless it was NSP-blocked.
struct MoeStats {
  std::vector<NspStats> nsp;
};

// Owns the scratch of MoE blocks of one size; one Run at a time. The output is bit-identical for
// every blocking, number of workers and composition of the batch.
class MoeBlock {
 public:
  // The most that Run will be given. Errors: out of memory.
  struct Limits {
    int64_t num_tokens;
    int experts_per_token;
    int64_t hidden_size;
    int64_t intermediate_size;
    int64_t packed_chunk_size;  // P >= 1
  };
  // NSP-blocked by `placement`, or with none one expert after another.
  static Result<MoeBlock> Create(const KernelTable& table, ComputeType type, const Limits& limits,
                                 std::optional<Placement> placement, int num_workers);

  // out[t] = sum over k, in order, of weights[t, k] * expert(ids[t, k])(x[t]); [T, H]. Uses the
  // pool's workers, at most as many as at Create. Errors: an id not below E, sizes above the
  // limits, experts that are not the placement's.
  Status Run(const RoutedTokens& tokens, const PackedExperts& experts, const GatedMlpSpec& mlp,
             WorkerPool& pool, float* out, MoeStats* stats = nullptr);

 private:
  struct WorkerScratch {
    AlignedBuffer<std::byte> packed;     // [P, H] gathered activations
    AlignedBuffer<std::byte> activated;  // [P, I] between gate-up and down
    PanelScratch panels;
  };
  struct Pass;

  MoeBlock(const KernelTable& table, ComputeType type, const Limits& limits,
           std::optional<Placement> placement)
      : gemm_(table, type), limits_(limits), placement_(std::move(placement)) {}

  Status Check(const RoutedTokens& tokens, const PackedExperts& experts,
               const WorkerPool& pool) const;
  void RunBlocked(const Pass& pass, MoeStats* stats);
  // A chunk from gather to scatter on one worker.
  void RunChunk(const Pass& pass, const Chunk& chunk, int worker);
  void Gather(const Pass& pass, const Chunk& chunk, const PackedRows& packed, Range tiles) const;
  RowSink Scatter(const Chunk& chunk);  // each row to its assignment in expert_out_
  void RunExpertAfterExpert(const Pass& pass);
  void RunGathered(const Pass& pass);
  void Combine(const Pass& pass, float* out) const;

  Gemm gemm_;
  Limits limits_;
  std::optional<Placement> placement_;
  MatchedIndex matched_;
  std::vector<int32_t> tokens_;  // [routed rows], the token of each of matched_.assignments
  ChunkPlan plan_;
  std::vector<WorkerScratch> workers_;
  AlignedBuffer<float> expert_out_;  // y [T * K, H], unweighted
};

}  // namespace expertile::cpu
