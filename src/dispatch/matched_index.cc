#include "dispatch/matched_index.h"

#include "base/check.h"

namespace expertile {

void BuildMatchedIndex(const RoutingTable& routing, int num_experts, MatchedIndex& matched) {
  // Counting sort. First offsets[e+1] counts expert e's rows; their running sum gives where each
  // expert begins.
  matched.offsets.assign(num_experts + 1, 0);
  for (const int32_t expert : routing.expert_ids) {
    if (expert != kNoExpert) ++matched.offsets[expert + 1];
  }
  for (int expert = 0; expert < num_experts; ++expert) {
    matched.offsets[expert + 1] += matched.offsets[expert];
  }
  matched.assignments.resize(matched.offsets[num_experts]);
  // Placing moves offsets[e] to where expert e ends, which is where e+1 begins: shifting them by
  // one restores them.
  for (size_t a = 0; a < routing.expert_ids.size(); ++a) {
    const int32_t expert = routing.expert_ids[a];
    if (expert != kNoExpert) {
      matched.assignments[matched.offsets[expert]++] = static_cast<int32_t>(a);
    }
  }
  for (int expert = num_experts; expert > 0; --expert) {
    matched.offsets[expert] = matched.offsets[expert - 1];
  }
  matched.offsets[0] = 0;
}

std::vector<int32_t> SlotTable(const MatchedIndex& matched, const Placement& placement,
                               int experts_per_token, int slot, int64_t num_columns) {
  std::vector<int32_t> table(placement.num_nsp() * num_columns, kNoToken);
  for (int nsp = 0; nsp < placement.num_nsp(); ++nsp) {
    const int expert = placement.ExpertAt(nsp, slot);
    if (expert == kNoExpert) continue;
    const auto assignments = matched.Of(expert);
    EXPERTILE_DCHECK(static_cast<int64_t>(assignments.size()) <= num_columns);
    for (size_t j = 0; j < assignments.size(); ++j) {
      table[nsp * num_columns + static_cast<int64_t>(j)] = assignments[j] / experts_per_token;
    }
  }
  return table;
}

}  // namespace expertile
