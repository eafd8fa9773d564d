// A Qwen3-VL vision tower in a checkpoint: its vision_config as a VisionSpec, and its weights by
// name. Not packing, nothing is copied; not the preprocessor's file (image/vision_preprocessor.h).
#pragma once

#include <string>

#include "expertile/result.h"
#include "formats/checkpoint_tensors.h"
#include "formats/json.h"
#include "model/vision_spec.h"
#include "model/vision_weights.h"

namespace expertile {

// All of VisionSpec but `prompt`, whose tokens stand outside vision_config. Absent fields mean what
// they do in transformers' configuration_qwen3_vl_moe.py.
Result<VisionSpec> ReadVisionConfig(const JsonObject& vision);

// PREFIX patch_embed, pos_embed, blocks, deepstack_merger_list and merger. Refuses one that is
// missing or has another shape.
Result<VisionViews> BindVisionTower(const VisionSpec& spec, const CheckpointTensors& tensors,
                                    const std::string& prefix);

}  // namespace expertile
