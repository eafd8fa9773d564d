// Which experts a token goes to, and with what weights, from its router logits. Shared by the host
// targets. Not the router's matrix product.
#pragma once

#include <cstdint>
#include <span>

#include "model/decoder_spec.h"

namespace expertile {

// `logits` [E] of one token (used as scratch) -> `ids` [K] in descending order of score, ties by
// lower id, and `weights` [K]. K <= E. A NaN logit ranks below every number.
void SelectExperts(std::span<float> logits, const RouterSpec& spec, std::span<int32_t> ids,
                   std::span<float> weights);

}  // namespace expertile
