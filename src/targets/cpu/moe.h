// The Mixture-of-Experts block: routed tokens in, combined expert outputs out, NSP-blocked or not.
// Not the router (it is given ids and weights) and not the expert arithmetic (targets/cpu/gemm.h).
#pragma once

#include <atomic>
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
#include "dispatch/work_list.h"
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
  double busy_seconds = 0.0;  // on its pieces, by whichever workers
};

// What one Run did; but for combine_seconds empty unless it was NSP-blocked.
struct MoeStats {
  std::vector<NspStats> nsp;                // [N]
  std::vector<double> worker_busy_seconds;  // [W], on pieces of any NSP
  std::vector<double> expert_busy_seconds;  // [E]
  double combine_seconds = 0.0;             // of the weighted sums
  std::optional<WorkCut> cut;               // of its work

  struct Busy {
    double busiest_seconds = 0.0;
    double mean_seconds = 0.0;
    double imbalance() const { return mean_seconds > 0.0 ? busiest_seconds / mean_seconds : 1.0; }
  };
  static Busy BusyOf(std::span<const double> seconds);
  Busy workers() const { return BusyOf(worker_busy_seconds); }
  Busy nsps() const;
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
  struct Claims;

  MoeBlock(const KernelTable& table, ComputeType type, const Limits& limits,
           std::optional<Placement> placement)
      : gemm_(table, type), limits_(limits), placement_(std::move(placement)) {}

  Status Check(const RoutedTokens& tokens, const PackedExperts& experts,
               const WorkerPool& pool) const;
  // The workers meet once, when all pieces are done.
  void RunBlocked(const Pass& pass, MoeStats* stats);
  // `gathered` is the group whose rows lie in the worker's `packed`, -1 for none.
  void RunPiece(const Pass& pass, const WorkPiece& piece, int worker, int32_t& gathered,
                Claims& claims);
  // From gather to scatter on one worker.
  void RunWhole(const Pass& pass, const WorkPiece& piece, WorkerScratch& scratch);
  void RunGatePart(const Pass& pass, const WorkPiece& piece, WorkerScratch& scratch,
                   int32_t& gathered);
  void RunDownPart(const Pass& pass, const WorkPiece& piece, WorkerScratch& scratch);
  PackedRows SharedActivated(const Pass& pass, const WorkPiece& piece);
  MoeStats StatsOf(int num_experts, const std::vector<double>& piece_seconds,
                   std::vector<double> worker_seconds) const;
  // Each token's row once, where that makes gathering it K times cheaper. One worker does what is
  // `beside`, which takes no part in it.
  void PackTokens(const Pass& pass, FunctionRef<void()> beside);
  // `packed` has the rows from matched_.assignments[begin] on.
  void Gather(const Pass& pass, int32_t begin, const PackedRows& packed, Range tiles) const;
  RowSink Scatter(int32_t begin);  // each row to its assignment in expert_out_
  void RunExpertAfterExpert(const Pass& pass);
  void RunGathered(const Pass& pass);
  void Combine(const Pass& pass, float* out, MoeStats* stats) const;

  Gemm gemm_;
  Limits limits_;
  std::optional<Placement> placement_;
  MatchedIndex matched_;
  std::vector<int32_t> tokens_;          // [routed rows], the token of each of matched_.assignments
  AlignedBuffer<std::byte> token_rows_;  // [T, H], each packed as a tile of its own
  ChunkPlan plan_;                       // of a run that is not NSP-blocked
  WorkList work_;                        // of one that is
  std::vector<WorkerScratch> workers_;
  AlignedBuffer<std::byte> shared_activated_;  // [rows, I] of the experts shared by columns
  AlignedBuffer<float> expert_out_;            // y [T * K, H], unweighted
};

}  // namespace expertile::cpu
