// ModelConfig: what the small files of a model folder say: config.json, generation_config.json and
// the image preprocessor's. A checkpoint has them beside its weights, a compiled program has
// copies. Not the weights (model/checkpoint.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "expertile/result.h"
#include "image/vision_preprocessor.h"
#include "model/decoder_spec.h"
#include "model/vision_spec.h"

namespace expertile {

struct ModelVision {
  VisionSpec spec;
  // Of processor_config.json or preprocessor_config.json; none if the folder has neither, and then
  // the model reads text only.
  std::optional<VisionPreprocessorConfig> preprocessor;
};

struct ModelConfig {
  std::filesystem::path folder;
  DecoderSpec spec;
  std::optional<ModelVision> vision;   // none in a model of text alone
  std::vector<int32_t> end_token_ids;  // of generation_config.json, else of config.json
  bool has_mxfp4_experts = false;      // says quantization_config
};

// Refuses a model_type that no family in model/families/ reads, and values out of range.
Result<ModelConfig> ReadModelConfig(const std::filesystem::path& folder);

// The same of the text part that a config.json describes, without the files beside it.
Result<ModelConfig> ReadLoneConfig(const std::filesystem::path& file);

// The files beside the weights that a program needs to work without its checkpoint, and that count
// among what it was made of, with all of kTemplateFolder; a folder need not have all of them.
inline constexpr const char* kModelAssets[] = {"config.json",
                                               "generation_config.json",
                                               "tokenizer.json",
                                               "tokenizer_config.json",
                                               "chat_template.jinja",
                                               "chat_template.json",
                                               "preprocessor_config.json",
                                               "processor_config.json"};
inline constexpr const char* kTemplateFolder = "additional_chat_templates";  // NAME.jinja

}  // namespace expertile
