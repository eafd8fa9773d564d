#include "model/checkpoint.h"

#include <utility>

#include "base/error.h"
#include "model/family.h"

namespace expertile {

Result<std::shared_ptr<const Checkpoint>> LoadCheckpoint(const std::filesystem::path& folder) {
  EXPERTILE_ASSIGN(ModelConfig config, ReadModelConfig(folder));
  EXPERTILE_ASSIGN(const Family* family, FamilyOf(config.spec.model_type));
  EXPERTILE_ASSIGN(CheckpointTensors tensors, CheckpointTensors::Open(folder));
  EXPERTILE_ASSIGN(DecoderViews weights, family->bind_weights(config.spec, tensors));
  std::optional<VisionViews> vision_weights;
  if (config.vision) {
    EXPERTILE_ASSIGN(vision_weights, family->bind_vision(config.vision->spec, tensors));
  }
  return std::make_shared<const Checkpoint>(Checkpoint{
      std::move(config), std::move(tensors), std::move(weights), std::move(vision_weights)});
}

}  // namespace expertile
