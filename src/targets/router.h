// Which experts a token goes to, and with what weights, from its router logits. Shared by the host
// targets. Not the router's matrix product.
#pragma once

#include <cstdint>
#include <span>

#include "model/decoder_spec.h"

namespace expertile {

// `logits` [E] of one token (used as scratch) -> `ids` [K] in descending order of score, ties by
// lower id, and `weights` [K]. 1 <= K <= E. The K ids are distinct whatever the logits: a NaN ranks
// below every number, and NaN ones by lower id. Logits without a softmax (a NaN, +inf, or -inf
// alone) rank by themselves, and have weights NaN: the token's row shows it, and no other row does.
void SelectExperts(std::span<float> logits, const RouterSpec& spec, std::span<int32_t> ids,
                   std::span<float> weights);

}  // namespace expertile
