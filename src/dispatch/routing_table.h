// RoutingTable: which experts each token chose. The input of all of dispatch/.
// Not the choice itself (a router's matrix product and top-k are a target's).
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "expertile/result.h"

namespace expertile {

inline constexpr int32_t kNoExpert = -1;  // in a padded row
inline constexpr int32_t kNoToken =
    std::numeric_limits<int32_t>::max();  // past the last token of a slot, in a static graph

struct RoutingTable {
  int64_t num_tokens = 0;               // T
  int experts_per_token = 0;            // K
  std::span<const int32_t> expert_ids;  // [T,K]; a padded row holds kNoExpert K times
};

// Refuses ids outside [0,E), rows padded in part, and T*K beyond int32.
Status CheckRoutingTable(const RoutingTable& routing, int num_experts);

}  // namespace expertile
