// Opens a checkpoint on the CPU target: chooses the instruction set and packs every weight once.
// Not the arithmetic (cpu_ops.h).
#pragma once

#include <memory>

#include "model/checkpoint.h"
#include "targets/target.h"

namespace expertile::cpu {

// Weights stay bfloat16 where the checkpoint has them so; with options.compute kBF16 all but the
// router's become it. Errors: an EXPERTILE_ISA that this machine lacks, out of memory.
Result<std::unique_ptr<TargetProgram>> OpenCpu(const Checkpoint& checkpoint,
                                               const TargetOptions& options);

}  // namespace expertile::cpu
