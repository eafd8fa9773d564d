// A fifth target, to try what one takes: float32 through the reference's Ops, weights in a store of
// its own. Not of any use but that.
#pragma once

#include "targets/target_row.h"

namespace expertile::toy {

TargetRow ToyTarget();

// Blocks written to the toy's own stores so far, by all programs.
int NumBlocksStored();

}  // namespace expertile::toy
