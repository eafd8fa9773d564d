// From a checkpoint to programs for a Cloud AI 100: graphs, the compiler's files, its run.
// Not how those files look: program/qaic/.
#pragma once

#include "expertile/model.h"
#include "model/checkpoint.h"

namespace expertile {

// Model::CompileToDisk() of target qaic. `options` are resolved.
Result<CompiledProgram> CompileForCloudAi100(const Checkpoint& checkpoint,
                                             const CompileOptions& options,
                                             const OnProgress& on_progress);

}  // namespace expertile
