#include "dispatch/placement.h"

#include "base/error.h"

namespace expertile {

Result<Placement> Placement::Create(int num_experts, int num_nsp) {
  if (num_nsp < 1 || num_nsp > num_experts) {
    return InvalidArgument("moe_prefill_num_nsp: {}, expected 1 to {} (the number of experts)",
                           num_nsp, num_experts);
  }
  return Placement(num_experts, num_nsp);
}

Result<std::optional<Placement>> Placement::CreateIfBlocked(int num_experts, int num_nsp) {
  if (num_nsp == 0) return std::nullopt;
  return Create(num_experts, num_nsp);
}

}  // namespace expertile
