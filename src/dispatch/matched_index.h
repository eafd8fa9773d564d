// MatchedIndex: for every expert, the (token, k) assignments that chose it, in token order. What
// the cumulative sum over a routing mask computes, in compact form; SlotTable() gives the padded
// form that static graphs use. Not a schedule (dispatch/chunk_plan.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dispatch/placement.h"
#include "dispatch/routing_table.h"

namespace expertile {

struct MatchedIndex {
  std::vector<int32_t> offsets;      // [E+1], into assignments
  std::vector<int32_t> assignments;  // [routed rows], token K + k

  std::span<const int32_t> Of(int expert) const {
    return std::span(assignments).subspan(offsets[expert], offsets[expert + 1] - offsets[expert]);
  }
};

// O(T K + E). `routing` must pass CheckRoutingTable; `matched`'s storage is used again.
void BuildMatchedIndex(const RoutingTable& routing, int num_experts, MatchedIndex& matched);

// The packed→token table of one slot over all NSPs, [N, num_columns]: entry (n, j) is the j-th
// token that chose the expert in that slot of NSP n, kNoToken after the last. num_columns >= the
// longest of them.
std::vector<int32_t> SlotTable(const MatchedIndex& matched, const Placement& placement,
                               int experts_per_token, int slot, int64_t num_columns);

}  // namespace expertile
