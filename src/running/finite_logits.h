// Whether a step's logits are numbers, and if not, since when: a damaged weight shows here.
// Not a repair: whoever wants such logits gets an error.
#pragma once

#include <span>

#include "targets/target.h"

namespace expertile {

// `step` has run on `target` and given `logits` [R,V]. If one of them is NaN or infinite: the error
// of the first such row, with its position and the first layer. Finding that runs the step once
// more, which leaves the same bits in the cache.
Status CheckFinite(TargetSession& target, const Step& step, std::span<const float> logits);

}  // namespace expertile
