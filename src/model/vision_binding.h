// The weights of a Qwen3-VL vision tower by their names in a checkpoint.
// Not packing: views only, nothing is copied.
#pragma once

#include <string>

#include "formats/checkpoint_tensors.h"
#include "model/vision_spec.h"
#include "model/vision_weights.h"

namespace expertile {

// PREFIX patch_embed, pos_embed, blocks, deepstack_merger_list and merger. Refuses one that is
// missing or has another shape.
Result<VisionViews> BindVisionTower(const VisionSpec& spec, const CheckpointTensors& tensors,
                                    const std::string& prefix);

}  // namespace expertile
