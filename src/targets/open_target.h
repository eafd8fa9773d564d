// The one place that knows every target by name.
// Not their options' meaning: runtime/options.cc checks those.
#pragma once

#include <memory>
#include <string_view>

#include "model/checkpoint.h"
#include "targets/target.h"

namespace expertile {

// Prepares a checkpoint's weights for `target`: "reference" or "cpu".
Result<std::unique_ptr<TargetProgram>> OpenTarget(std::string_view target,
                                                  const Checkpoint& checkpoint,
                                                  const TargetOptions& options);

}  // namespace expertile
