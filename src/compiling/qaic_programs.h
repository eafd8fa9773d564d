// The target qaic: from a checkpoint to programs for a Cloud AI 100 by graphs and its compiler.
// Not how those files look: program/qaic/.
#pragma once

#include "targets/target_row.h"

namespace expertile {

TargetRow QaicTarget();

}  // namespace expertile
