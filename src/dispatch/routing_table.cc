#include "dispatch/routing_table.h"

#include <algorithm>

#include "base/error.h"

namespace expertile {
namespace {

Status CheckRow(std::span<const int32_t> row, int64_t token, int num_experts) {
  const auto num_padded = std::ranges::count(row, kNoExpert);
  if (num_padded == static_cast<int64_t>(row.size())) return {};
  if (num_padded != 0) {
    return InvalidArgument(
        "routing table: token {}: {} of {} experts are padding, expected none or all", token,
        num_padded, row.size());
  }
  for (const int32_t expert : row) {
    if (expert < 0 || expert >= num_experts) {
      return InvalidArgument("routing table: token {}: expert {}, expected 0 to {}", token, expert,
                             num_experts - 1);
    }
  }
  return {};
}

}  // namespace

Status CheckRoutingTable(const RoutingTable& routing, int num_experts) {
  const int64_t K = routing.experts_per_token;
  if (routing.num_tokens < 0 || K < 1 ||
      routing.num_tokens > std::numeric_limits<int32_t>::max() / K) {
    return InvalidArgument("routing table: {} tokens of {} experts, expected at most {} in all",
                           routing.num_tokens, K, std::numeric_limits<int32_t>::max());
  }
  if (static_cast<int64_t>(routing.expert_ids.size()) != routing.num_tokens * K) {
    return InvalidArgument("routing table: {} ids, expected {} tokens of {} experts",
                           routing.expert_ids.size(), routing.num_tokens, K);
  }
  for (int64_t token = 0; token < routing.num_tokens; ++token) {
    EXPERTILE_RETURN_IF_ERROR(
        CheckRow(routing.expert_ids.subspan(token * K, K), token, num_experts));
  }
  return {};
}

}  // namespace expertile
