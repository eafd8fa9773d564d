#include "model/model_config.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "formats/json.h"
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

}  // namespace

Result<ModelConfig> ReadModelConfig(const std::filesystem::path& folder) {
  EXPERTILE_ASSIGN(const JsonObject config, JsonObject::Read(folder / "config.json"));
  EXPERTILE_ASSIGN(const std::string model_type, config.GetString("model_type"));
  EXPERTILE_ASSIGN(const Family* family, FamilyOf(model_type));
  ModelConfig model;
  model.folder = folder;
  EXPERTILE_ASSIGN(model.spec, family->read_config(config));
  EXPERTILE_ASSIGN(model.end_token_ids, FindEndTokens(folder, config));
  if (family->read_vision == nullptr) return model;
  ModelVision vision;
  EXPERTILE_ASSIGN(vision.spec, family->read_vision(config));
  EXPERTILE_ASSIGN(vision.preprocessor, FindPreprocessor(folder, vision.spec));
  model.vision = std::move(vision);
  return model;
}

}  // namespace expertile
