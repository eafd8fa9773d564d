// Dispatch as the public API shows it: arrays of its own structures.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "dispatch/chunk_plan.h"
#include "dispatch/matched_index.h"
#include "dispatch/placement.h"
#include "dispatch/work_list.h"
#include "expertile/dispatch.h"

namespace expertile {
namespace {

Result<MatchedIndex> MatchedOf(const Routing& routing) {
  const int K = routing.experts_per_token;
  const auto size = static_cast<int64_t>(routing.expert_ids.size());
  if (K < 1 || routing.num_experts < 1 || size % K != 0) {
    return InvalidArgument("routing: {} expert ids, K={}, E={}", size, K, routing.num_experts);
  }
  const RoutingTable table{size / K, K, routing.expert_ids};
  EXPERTILE_RETURN_IF_ERROR(CheckRoutingTable(table, routing.num_experts));
  MatchedIndex matched;
  BuildMatchedIndex(table, routing.num_experts, matched);
  return matched;
}

Status CheckChunkSize(int64_t packed_chunk_size) {
  if (packed_chunk_size >= 1) return {};
  return InvalidArgument("packed_chunk_size: {}, expected at least 1", packed_chunk_size);
}

template <typename T>
double Imbalance(const std::vector<T>& loads) {
  const auto sum = static_cast<double>(std::accumulate(loads.begin(), loads.end(), T{0}));
  if (sum <= 0.0) return 1.0;
  const auto most = static_cast<double>(*std::ranges::max_element(loads));
  return most * static_cast<double>(loads.size()) / sum;
}

}  // namespace

Result<ExpertPlacement> PlaceExperts(int num_experts, int num_nsp) {
  EXPERTILE_ASSIGN(const Placement placement, Placement::Create(num_experts, num_nsp));
  ExpertPlacement placed{num_nsp, placement.local_experts(), {}, {}, {}};
  for (int expert = 0; expert < num_experts; ++expert) {
    placed.nsp.push_back(placement.NspOf(expert));
    placed.slot.push_back(placement.SlotOf(expert));
  }
  for (int nsp = 0; nsp < num_nsp; ++nsp) {
    for (int slot = 0; slot < placed.local_experts; ++slot) {
      placed.table.push_back(placement.ExpertAt(nsp, slot));
    }
  }
  return placed;
}

Result<MatchedAssignments> MatchAssignments(const Routing& routing) {
  EXPERTILE_ASSIGN(MatchedIndex matched, MatchedOf(routing));
  return MatchedAssignments{std::move(matched.offsets), std::move(matched.assignments)};
}

Result<PlannedChunks> PlanChunks(const Routing& routing, int num_nsp, int64_t packed_chunk_size) {
  EXPERTILE_RETURN_IF_ERROR(CheckChunkSize(packed_chunk_size));
  EXPERTILE_ASSIGN(const MatchedIndex matched, MatchedOf(routing));
  EXPERTILE_ASSIGN(const Placement placement, Placement::Create(routing.num_experts, num_nsp));
  ChunkPlan plan;
  BuildChunkPlan(matched, placement, packed_chunk_size, plan);
  PlannedChunks planned{{}, std::move(plan.nsp_offsets)};
  for (const Chunk& chunk : plan.chunks) {
    planned.chunks.push_back({chunk.expert, chunk.nsp, chunk.slot, chunk.begin, chunk.end});
  }
  return planned;
}

Result<DispatchBalance> BalanceOf(const Routing& routing, int num_nsp, int64_t packed_chunk_size,
                                  int num_workers, const WorkCut& cut) {
  if (num_workers < 1) return InvalidArgument("num_workers: {}, expected at least 1", num_workers);
  EXPERTILE_RETURN_IF_ERROR(CheckChunkSize(packed_chunk_size));
  EXPERTILE_ASSIGN(const MatchedIndex matched, MatchedOf(routing));
  EXPERTILE_ASSIGN(const Placement placement, Placement::Create(routing.num_experts, num_nsp));
  ChunkPlan plan;
  BuildChunkPlan(matched, placement, packed_chunk_size, plan);
  DispatchBalance balance;
  balance.nsp_rows.resize(num_nsp);
  balance.num_chunks = static_cast<int64_t>(plan.chunks.size());
  for (const Chunk& chunk : plan.chunks) balance.nsp_rows[chunk.nsp] += chunk.end - chunk.begin;
  balance.nsp_imbalance = Imbalance(balance.nsp_rows);
  WorkList work;
  BuildWorkList(matched, placement, {num_workers, packed_chunk_size, cut}, work);
  std::vector<PlayedWork> workers(num_workers);
  PlayWorkList(work, workers);
  std::vector<int64_t> busy;
  for (const PlayedWork& worker : workers) busy.push_back(worker.cost);
  balance.worker_imbalance = Imbalance(busy);
  return balance;
}

}  // namespace expertile
