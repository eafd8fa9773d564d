// The CPU target's row: packing a checkpoint, and opening what was packed.
// Not its arithmetic (cpu_ops.h).
#pragma once

#include <memory>

#include "model/checkpoint.h"
#include "targets/target.h"
#include "targets/target_row.h"
#include "targets/weight_store.h"

namespace expertile::cpu {

TargetRow CpuTarget();

// Panels as the kernels of options.isa read them, in the checkpoint's number format or, with
// options.arithmetic, in bfloat16 or MXINT8.
Status PackCpu(const Checkpoint& checkpoint, const TargetOptions& options, WeightWriter& writer);

// Uses the weights in place. Errors: those of the reader; options.isa that this machine lacks, or
// that is not the one which the environment variable EXPERTILE_ISA asks for.
Result<std::unique_ptr<TargetProgram>> OpenCpu(const TargetModel& model,
                                               const TargetOptions& options,
                                               std::shared_ptr<const WeightReader> weights);

}  // namespace expertile::cpu
