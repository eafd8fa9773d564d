// A Qwen3-VL tower's vision_config as a VisionSpec.
// Not the preprocessor's file (image/vision_preprocessor.h).
#pragma once

#include "expertile/result.h"
#include "formats/json.h"
#include "model/vision_spec.h"

namespace expertile {

// All of VisionSpec but `prompt`, whose tokens stand outside vision_config. Absent fields mean what
// they do in transformers' configuration_qwen3_vl_moe.py.
Result<VisionSpec> ReadVisionConfig(const JsonObject& vision);

}  // namespace expertile
