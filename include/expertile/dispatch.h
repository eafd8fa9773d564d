// How tokens are given to experts and experts to NSPs, as plain arrays: for looking at a routing,
// and for schedulers of one's own. docs/dispatch.md has the algorithm.
// Not a computation: nothing here multiplies.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "expertile/result.h"

namespace expertile {

// Which tokens chose which expert: [T,K] expert ids, a padded row being K times -1.
struct Routing {
  std::span<const int32_t> expert_ids;  // [T,K]
  int experts_per_token = 0;            // K
  int num_experts = 0;                  // E
};

// Of each expert its NSP and its slot there: expert e on NSP e mod N, in slot e div N.
struct ExpertPlacement {
  int num_nsp = 0;             // N
  int local_experts = 0;       // L = ceil(E/N)
  std::vector<int32_t> nsp;    // [E]
  std::vector<int32_t> slot;   // [E]
  std::vector<int32_t> table;  // [N,L], the expert in each slot; -1 where an NSP has one fewer
};
// Errors: 1 <= num_nsp <= num_experts does not hold.
Result<ExpertPlacement> PlaceExperts(int num_experts, int num_nsp);

// For every expert the assignments (numbers token K + k) that chose it, in token order.
struct MatchedAssignments {
  std::vector<int32_t> offsets;      // [E+1], into assignments
  std::vector<int32_t> assignments;  // [routed rows]
};
// Errors: ids that are no experts', rows padded in part, too many assignments.
Result<MatchedAssignments> MatchAssignments(const Routing& routing);

// Rows [begin, end) of the assignments, all of one expert.
struct PlannedChunk {
  int32_t expert = 0;
  int32_t nsp = 0;
  int32_t slot = 0;
  int32_t begin = 0;
  int32_t end = 0;
};
struct PlannedChunks {
  std::vector<PlannedChunk> chunks;  // NSP by NSP, in each slot by slot
  std::vector<int32_t> nsp_offsets;  // [N+1], into chunks
};
// Every NSP's work as chunks of at most packed_chunk_size rows; none is empty. Errors: those of the
// two above; packed_chunk_size < 1.
Result<PlannedChunks> PlanChunks(const Routing& routing, int num_nsp, int64_t packed_chunk_size);

// How workers cut the rows of experts between them (docs/dispatch.md); as here where no target
// says.
struct WorkCut {
  int64_t tile_rows = 4;          // that a product takes at once: cuts fall on multiples of it
  int64_t max_parts = 8;          // of an expert's columns, at most, >= 1
  int64_t max_group_rows = 2048;  // in all that may be cut by columns: their activations are kept
  int64_t weights_rows = 8;       // reading an expert's weights takes as long as these
};

// How evenly a routing's work lies.
struct DispatchBalance {
  std::vector<int64_t> nsp_rows;  // [N]
  int64_t num_chunks = 0;
  double nsp_imbalance = 1.0;     // rows of the busiest NSP / mean of the NSPs
  double worker_imbalance = 1.0;  // the same of num_workers workers that help each other, predicted
};
// `cut` is a target's, as NspLoad has it. Errors: those of PlanChunks(); num_workers < 1.
Result<DispatchBalance> BalanceOf(const Routing& routing, int num_nsp, int64_t packed_chunk_size,
                                  int num_workers, const WorkCut& cut = {});

}  // namespace expertile
