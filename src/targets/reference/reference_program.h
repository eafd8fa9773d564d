// Packs a checkpoint for the reference target, and opens what was packed.
// Not its arithmetic (reference_ops.h).
#pragma once

#include <memory>

#include "model/checkpoint.h"
#include "targets/target.h"
#include "targets/weight_store.h"

namespace expertile::reference {

// Every weight expanded to float32, row by row. Refuses options.compute other than kF32.
Status PackReference(const Checkpoint& checkpoint, const TargetOptions& options,
                     WeightWriter& writer);

Result<std::unique_ptr<TargetProgram>> OpenReference(const TargetModel& model,
                                                     const TargetOptions& options,
                                                     std::shared_ptr<const WeightReader> weights);

}  // namespace expertile::reference
