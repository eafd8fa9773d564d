// MatchedIndex: for every expert, the (token, k) assignments that chose it, in token order: what
// the cumulative sum over a routing mask computes. Not a schedule (dispatch/chunk_plan.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

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

}  // namespace expertile
