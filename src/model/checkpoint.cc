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
  return ReadEndTokens(config);
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
  return std::make_shared<const Checkpoint>(Checkpoint{
      folder, std::move(tensors), std::move(spec), std::move(weights), std::move(end_token_ids)});
}

}  // namespace expertile
