// A checkpoint's public description, counted from its spec and tensors.
// Not its parsing (model/checkpoint.h).
#pragma once

#include "expertile/model.h"
#include "model/checkpoint.h"

namespace expertile {

ModelDescription Describe(const Checkpoint& checkpoint);

// The same of a program: no bytes or dtype of a checkpoint.
ModelDescription Describe(const ModelConfig& config);

}  // namespace expertile
