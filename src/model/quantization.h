// Quantised checkpoints: which of them a family reads, and refusing the others by their name.
// Not the reading of quantised weights (formats/mxfp4.h).
#pragma once

#include "expertile/result.h"
#include "formats/checkpoint_tensors.h"
#include "formats/json.h"
#include "model/family.h"

namespace expertile {

// Refuses a configuration that says its weights are quantised in a way that `family` does not read,
// wherever it says so; the message names the method and what is read. Otherwise: whether it says
// that experts are in MXFP4.
Result<bool> ReadQuantization(const JsonObject& config, const Family& family);

// `error` came of looking for weights. If the names of the checkpoint's tensors are those of a
// quantised one, that is what is said, after it.
Error ExplainedByQuantization(Error error, const CheckpointTensors& tensors, const Family& family);

}  // namespace expertile
