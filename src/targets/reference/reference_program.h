// Opens a checkpoint on the reference target.
// Not its arithmetic (reference_ops.h).
#pragma once

#include <memory>

#include "model/checkpoint.h"
#include "targets/target.h"

namespace expertile::reference {

// Expands every weight to float32. Refuses options.compute other than kF32.
Result<std::unique_ptr<TargetProgram>> OpenReference(const Checkpoint& checkpoint,
                                                     const TargetOptions& options);

}  // namespace expertile::reference
