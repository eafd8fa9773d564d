#include "model/model_config.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "base/model_folder.h"
#include "formats/json.h"
#include "model/family.h"
#include "model/quantization.h"

namespace expertile {
namespace {

// eos_token_id as found in the wild: one id, a list, or nothing. Ids outside the vocabulary can
// never be made.
Result<std::vector<int32_t>> ReadEndTokens(const JsonObject& config) {
  EXPERTILE_ASSIGN(const std::vector<int64_t> ids, config.GetIntOrIntList("eos_token_id"));
  return std::vector<int32_t>(ids.begin(), ids.end());
}

// generation_config.json decides where it is there, even if it names none; else config.json does,
// and then its text_config.
Result<std::vector<int32_t>> FindEndTokens(const std::filesystem::path& folder,
                                           const JsonObject& config) {
  const auto path = folder / "generation_config.json";
  if (std::filesystem::exists(path)) {
    EXPERTILE_ASSIGN(const JsonObject generation, JsonObject::Read(path));
    return ReadEndTokens(generation);
  }
  if (config.Has("eos_token_id")) return ReadEndTokens(config);
  EXPERTILE_ASSIGN(const JsonObject text, config.GetObjectOrEmpty("text_config"));
  return ReadEndTokens(text);
}

// What preprocesses images: processor_config.json if it says so, else preprocessor_config.json.
Result<std::optional<VisionPreprocessorConfig>> ReadPreprocessor(
    const std::filesystem::path& folder, std::string& source) {
  for (const char* name : {"processor_config.json", "preprocessor_config.json"}) {
    const auto path = folder / name;
    if (!std::filesystem::exists(path)) continue;
    source = path.string();
    EXPERTILE_ASSIGN(const JsonObject json, JsonObject::Read(path));
    const bool is_nested = json.Has("image_processor");
    if (!is_nested && path.filename() == "processor_config.json") continue;
    EXPERTILE_ASSIGN(const JsonObject fields,
                     is_nested ? json.GetObject("image_processor") : Result<JsonObject>(json));
    return ReadVisionPreprocessorConfig(fields, source);
  }
  return std::nullopt;
}

// The same, checked against the tower that gets its patches.
Result<std::optional<VisionPreprocessorConfig>> FindPreprocessor(
    const std::filesystem::path& folder, const VisionSpec& spec) {
  std::string source;
  EXPERTILE_ASSIGN(const auto config, ReadPreprocessor(folder, source));
  if (config && (config->patch_values() != spec.patch_values ||
                 config->merge_size != spec.prompt.merge_size)) {
    return InvalidData(
        "{}: {} values a patch and merge_size {}, the vision tower of config.json takes {} and {}",
        source, config->patch_values(), config->merge_size, spec.patch_values,
        spec.prompt.merge_size);
  }
  return config;
}

Result<const Family*> ReadFamily(const JsonObject& config) {
  EXPERTILE_ASSIGN(const std::string model_type, config.GetString("model_type"));
  return FamilyOf(model_type);
}

Result<ModelConfig> ReadTextPart(const JsonObject& config, const Family& family) {
  ModelConfig model;
  EXPERTILE_ASSIGN(model.has_mxfp4_experts, ReadQuantization(config, family));
  EXPERTILE_ASSIGN(model.spec, family.read_config(config));
  model.spec.model_type = family.model_type;
  return model;
}

}  // namespace

Result<ModelConfig> ReadLoneConfig(const std::filesystem::path& file) {
  EXPERTILE_ASSIGN(const JsonObject config, JsonObject::Read(file));
  EXPERTILE_ASSIGN(const Family* family, ReadFamily(config));
  return ReadTextPart(config, *family);
}

Result<ModelConfig> ReadModelConfig(const std::filesystem::path& folder) {
  EXPERTILE_RETURN_IF_ERROR(CheckModelFolder(folder, "config.json"));
  EXPERTILE_ASSIGN(const JsonObject config, JsonObject::Read(folder / "config.json"));
  EXPERTILE_ASSIGN(const Family* family, ReadFamily(config));
  EXPERTILE_ASSIGN(ModelConfig model, ReadTextPart(config, *family));
  model.folder = folder;
  EXPERTILE_ASSIGN(model.end_token_ids, FindEndTokens(folder, config));
  if (family->read_vision == nullptr) return model;
  ModelVision vision;
  EXPERTILE_ASSIGN(vision.spec, family->read_vision(config));
  EXPERTILE_ASSIGN(vision.preprocessor, FindPreprocessor(folder, vision.spec));
  model.vision = std::move(vision);
  return model;
}

}  // namespace expertile
