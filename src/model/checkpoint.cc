#include "model/checkpoint.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "formats/json.h"
#include "model/config_fields.h"
#include "model/family.h"

namespace expertile {
namespace {

// eos_token_id as found in the wild: one id, a list, or nothing. Ids outside the vocabulary can
// never be made.
Result<std::vector<int32_t>> ReadEndTokens(const JsonObject& config) {
  EXPERTILE_ASSIGN(const std::vector<int64_t> ids, config.GetIntOrIntList("eos_token_id"));
  return std::vector<int32_t>(ids.begin(), ids.end());
}

Result<std::vector<int32_t>> FindEndTokens(const std::filesystem::path& folder,
                                           const JsonObject& config) {
  const auto path = folder / "generation_config.json";
  if (std::filesystem::exists(path)) {
    EXPERTILE_ASSIGN(const JsonObject generation, JsonObject::Read(path));
    EXPERTILE_ASSIGN(std::vector<int32_t> ids, ReadEndTokens(generation));
    if (!ids.empty()) return ids;
  }
  EXPERTILE_ASSIGN(std::vector<int32_t> ids, ReadEndTokens(config));
  if (!ids.empty() || !config.Has("text_config")) return ids;
  EXPERTILE_ASSIGN(const JsonObject text, config.GetObject("text_config"));
  return ReadEndTokens(text);
}

// The preprocessor's file, checked against the tower that gets its patches.
Result<std::optional<VisionPreprocessorConfig>> FindPreprocessor(
    const std::filesystem::path& folder, const VisionSpec& spec) {
  for (const char* name : {"preprocessor_config.json", "processor_config.json"}) {
    const auto path = folder / name;
    if (!std::filesystem::exists(path)) continue;
    EXPERTILE_ASSIGN(const std::string text, ReadTextFile(path));
    EXPERTILE_ASSIGN(const VisionPreprocessorConfig config,
                     ParseVisionPreprocessorConfig(text, path.string()));
    if (config.patch_values() != spec.patch_values || config.merge_size != spec.prompt.merge_size) {
      return InvalidData(
          "{}: {} values a patch and merge_size {}, the vision tower of config.json takes {} and "
          "{}",
          path.string(), config.patch_values(), config.merge_size, spec.patch_values,
          spec.prompt.merge_size);
    }
    return config;
  }
  return std::nullopt;
}

Result<std::optional<CheckpointVision>> LoadVision(const Family& family,
                                                   const std::filesystem::path& folder,
                                                   const JsonObject& config,
                                                   const CheckpointTensors& tensors) {
  if (family.read_vision == nullptr) return std::nullopt;
  CheckpointVision vision;
  EXPERTILE_ASSIGN(vision.spec, family.read_vision(config));
  EXPERTILE_ASSIGN(vision.weights, family.bind_vision(vision.spec, tensors));
  EXPERTILE_ASSIGN(vision.preprocessor, FindPreprocessor(folder, vision.spec));
  return vision;
}

}  // namespace

Result<std::shared_ptr<const Checkpoint>> LoadCheckpoint(const std::filesystem::path& folder) {
  EXPERTILE_ASSIGN(const JsonObject config, JsonObject::Read(folder / "config.json"));
  EXPERTILE_ASSIGN(const std::string model_type, config.GetString("model_type"));
  EXPERTILE_ASSIGN(const Family* family, FamilyOf(model_type));
  EXPERTILE_ASSIGN(DecoderSpec spec, family->read_config(config));
  EXPERTILE_ASSIGN(std::vector<int32_t> end_token_ids, FindEndTokens(folder, config));
  EXPERTILE_ASSIGN(CheckpointTensors tensors, CheckpointTensors::Open(folder));
  EXPERTILE_ASSIGN(DecoderWeights weights, family->bind_weights(spec, tensors));
  EXPERTILE_ASSIGN(auto vision, LoadVision(*family, folder, config, tensors));
  return std::make_shared<const Checkpoint>(Checkpoint{folder, std::move(tensors), std::move(spec),
                                                       std::move(weights), std::move(end_token_ids),
                                                       std::move(vision)});
}

}  // namespace expertile
