// The reference target's row: packing a checkpoint, and opening what was packed.
// Not its arithmetic (reference_ops.h).
#pragma once

#include <memory>

#include "model/checkpoint.h"
#include "targets/target.h"
#include "targets/target_row.h"
#include "targets/weight_store.h"

namespace expertile::reference {

TargetRow ReferenceTarget();

// Every weight expanded to float32, row by row.
Status PackReference(const Checkpoint& checkpoint, const TargetOptions& options,
                     WeightWriter& writer);

Result<std::unique_ptr<TargetProgram>> OpenReference(const TargetModel& model,
                                                     const TargetOptions& options,
                                                     std::shared_ptr<const WeightReader> weights);

}  // namespace expertile::reference
