// Checkpoint: a model folder, opened: its spec, where its weights lie, its end tokens.
// Not prepared weights (targets) and not its tokenizer (tokenizer/).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "expertile/result.h"
#include "formats/checkpoint_tensors.h"
#include "image/vision_preprocessor.h"
#include "model/decoder_spec.h"
#include "model/decoder_weights.h"
#include "model/vision_spec.h"
#include "model/vision_weights.h"

namespace expertile {

// What a model needs to see images.
struct CheckpointVision {
  VisionSpec spec;
  VisionWeights weights;
  // preprocessor_config.json, or processor_config.json; none if the folder has neither, and then
  // the model reads text only.
  std::optional<VisionPreprocessorConfig> preprocessor;
};

struct Checkpoint {
  std::filesystem::path folder;
  CheckpointTensors tensors;  // keeps the files mapped that `weights` points into
  DecoderSpec spec;
  DecoderWeights weights;
  std::vector<int32_t> end_token_ids;      // generation_config.json's, else config.json's
  std::optional<CheckpointVision> vision;  // none in a model of text alone
};

// Reads config.json, generation_config.json (if there) and the tensors' headers of `folder`.
// Refuses a model_type that no family in model/families/ reads, and any tensor that is missing or
// has another shape than the configuration says.
Result<std::shared_ptr<const Checkpoint>> LoadCheckpoint(const std::filesystem::path& folder);

}  // namespace expertile
