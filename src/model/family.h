// A family: how one model_type's config.json and tensor names become a DecoderSpec and
// views of its weights. Not a computation: a family adds no arithmetic, it sets switches
// (docs/adding-a-family.md).
#pragma once

#include <string_view>

#include "expertile/result.h"
#include "formats/checkpoint_tensors.h"
#include "formats/json.h"
#include "model/decoder_spec.h"
#include "model/decoder_weights.h"
#include "model/vision_spec.h"
#include "model/vision_weights.h"

namespace expertile {

struct Family {
  std::string_view model_type;
  Result<DecoderSpec> (*read_config)(const JsonObject& config);
  // Finds every weight of `spec`; refuses one that is missing or has another shape.
  Result<DecoderViews> (*bind_weights)(const DecoderSpec& spec, const CheckpointTensors& tensors);
  // The same of a vision tower; null in a family of text alone.
  Result<VisionSpec> (*read_vision)(const JsonObject& config) = nullptr;
  Result<VisionViews> (*bind_vision)(const VisionSpec& spec,
                                     const CheckpointTensors& tensors) = nullptr;
};

extern const Family kGptOss;
extern const Family kGraniteMoe;
extern const Family kGraniteMoeShared;
extern const Family kQwen2Moe;
extern const Family kQwen3Moe;
extern const Family kQwen3VlMoe;

// The family that reads `model_type`; the error lists those there are.
Result<const Family*> FamilyOf(std::string_view model_type);

}  // namespace expertile
