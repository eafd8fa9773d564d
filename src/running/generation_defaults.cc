// GenerationDefaults: generation_config.json as transformers' GenerationConfig reads it.
#include <filesystem>
#include <string>

#include "base/error.h"
#include "expertile/generation.h"
#include "formats/json.h"

namespace expertile {
namespace {

// Sets `value` if the field is there and not null.
Status ReadFloat(const JsonObject& config, const char* name, float& value) {
  EXPERTILE_ASSIGN(const double number, config.GetFloat(name, value));
  value = static_cast<float>(number);
  return {};
}

template <typename T>
void Choose(const std::optional<T>& choice, T& value) {
  if (choice) value = *choice;
}

}  // namespace

void SamplingChoices::ApplyTo(SamplingOptions& options) const {
  Choose(temperature, options.temperature);
  Choose(top_k, options.top_k);
  Choose(top_p, options.top_p);
  Choose(min_p, options.min_p);
  Choose(repetition_penalty, options.repetition_penalty);
  Choose(presence_penalty, options.presence_penalty);
  Choose(frequency_penalty, options.frequency_penalty);
  Choose(seed, options.seed);
}

SamplingOptions GenerationDefaults::With(const SamplingChoices& choices) const {
  SamplingOptions options = sampled;
  if (!do_sample) options.temperature = 0.0f;
  choices.ApplyTo(options);
  return options;
}

Result<GenerationDefaults> LoadGenerationDefaults(const std::filesystem::path& model_folder) {
  GenerationDefaults defaults;
  SamplingOptions& sampled = defaults.sampled;
  // GenerationConfig._get_default_generation_params() of transformers 5.
  sampled.temperature = 1.0f;
  sampled.top_k = 50;
  const auto path = model_folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return defaults;
  EXPERTILE_ASSIGN(const JsonObject config, JsonObject::Read(path));
  EXPERTILE_ASSIGN(defaults.do_sample, config.GetBool("do_sample", false));
  EXPERTILE_ASSIGN(const int64_t top_k, config.GetInt("top_k", sampled.top_k));
  sampled.top_k = static_cast<int>(top_k);
  EXPERTILE_RETURN_IF_ERROR(ReadFloat(config, "temperature", sampled.temperature));
  EXPERTILE_RETURN_IF_ERROR(ReadFloat(config, "top_p", sampled.top_p));
  EXPERTILE_RETURN_IF_ERROR(ReadFloat(config, "min_p", sampled.min_p));
  EXPERTILE_RETURN_IF_ERROR(ReadFloat(config, "repetition_penalty", sampled.repetition_penalty));
  EXPERTILE_RETURN_IF_ERROR(ReadFloat(config, "presence_penalty", sampled.presence_penalty));
  EXPERTILE_RETURN_IF_ERROR(ReadFloat(config, "frequency_penalty", sampled.frequency_penalty));
  if (const Status status = CheckSampling(sampled); !status) {
    return InvalidData("{}: {}", path.string(), status.error().message);
  }
  return defaults;
}

}  // namespace expertile
