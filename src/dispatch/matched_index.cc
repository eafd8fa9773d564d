#include "dispatch/matched_index.h"

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

}  // namespace expertile
