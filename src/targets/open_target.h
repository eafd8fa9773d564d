// The one place that knows every target by name.
// Not their options' meaning: compiling/options.cc checks those.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "model/checkpoint.h"
#include "targets/target.h"
#include "targets/weight_store.h"

namespace expertile {

// The instruction set that a program for `target` is packed for on this machine:
// TargetOptions::isa. Errors: a target that there is not, an environment variable EXPERTILE_ISA
// that cannot be honoured.
Result<std::string> ChooseIsa(std::string_view target);

// Packs a checkpoint's weights for `target`, "reference" or "cpu".
Status PackWeights(std::string_view target, const Checkpoint& checkpoint,
                   const TargetOptions& options, WeightWriter& writer);

// A program over packed weights, which it keeps alive and uses in place.
Result<std::unique_ptr<TargetProgram>> OpenTarget(std::string_view target, const TargetModel& model,
                                                  const TargetOptions& options,
                                                  std::shared_ptr<const WeightReader> weights);

TargetModel ModelOf(const ModelConfig& config);

// PackWeights into this process's memory, then OpenTarget, on ChooseIsa's instruction set.
Result<std::unique_ptr<TargetProgram>> PackAndOpen(std::string_view target,
                                                   const Checkpoint& checkpoint,
                                                   TargetOptions options);

}  // namespace expertile
