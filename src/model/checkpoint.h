// Checkpoint: a model folder, opened: what it says of itself, and where its weights lie.
// Not prepared weights (targets) and not its tokenizer (tokenizer/).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "expertile/result.h"
#include "formats/checkpoint_tensors.h"
#include "model/decoder_weights.h"
#include "model/model_config.h"
#include "model/vision_weights.h"

namespace expertile {

struct Checkpoint {
  ModelConfig config;
  CheckpointTensors tensors;  // keeps the files mapped that the weights point into
  DecoderViews weights;
  std::optional<VisionViews> vision_weights;  // where config.vision is
};

// Reads the small files and the tensors' headers of `folder`. Refuses what ReadModelConfig() does,
// and any tensor that is missing or has another shape than the configuration says.
Result<std::shared_ptr<const Checkpoint>> LoadCheckpoint(const std::filesystem::path& folder);

}  // namespace expertile
