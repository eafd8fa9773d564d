#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "image/vision_preprocessor.h"

namespace expertile {
namespace {

using nlohmann::json;

constexpr int64_t kMaxPatchSize = 256;
constexpr int64_t kMaxMergeSize = 16;
constexpr int64_t kMaxTemporalPatchSize = 16;
constexpr int64_t kMaxPixels = int64_t{1} << 40;
constexpr int kPillowBicubic = 3;

// Reads keys of one JSON object, each of which may be absent or null: the value then stays.
class OptionalFields {
 public:
  OptionalFields(const json& object, std::string_view source_name)
      : object_(object), source_name_(source_name) {}

  Status Read(const char* key, bool& value) const {
    const json* field = Find(key);
    if (field == nullptr) return {};
    if (!field->is_boolean()) return Refuse(key, "true or false");
    value = field->get<bool>();
    return {};
  }

  Status Read(const char* key, int64_t& value, int64_t max_value) const {
    const json* field = Find(key);
    if (field == nullptr) return {};
    const std::string range = fmt::format("a whole number from 1 to {}", max_value);
    if (!field->is_number_integer()) return Refuse(key, range);
    const auto number = field->get<int64_t>();
    if (number < 1 || number > max_value) return Refuse(key, range);
    value = number;
    return {};
  }

  Status ReadNonZero(const char* key, double& value) const {
    const json* field = Find(key);
    if (field == nullptr) return {};
    if (!IsFinite(*field) || field->get<double>() == 0.0) return Refuse(key, "a number, not 0");
    value = field->get<double>();
    return {};
  }

  Status Read(const char* key, std::array<double, kRgbChannels>& values) const {
    const json* field = Find(key);
    if (field == nullptr) return {};
    if (!field->is_array() || field->size() != values.size()) return Refuse(key, "3 numbers");
    for (size_t i = 0; i < values.size(); ++i) {
      if (!IsFinite((*field)[i])) return Refuse(key, "3 numbers");
      values[i] = (*field)[i].get<double>();
    }
    return {};
  }

  const json* Find(const char* key) const {
    const auto field = object_.find(key);
    return field == object_.end() || field->is_null() ? nullptr : &*field;
  }

  tl::unexpected<Error> Refuse(const char* key, std::string_view expected) const {
    const auto text = Find(key)->dump(-1, ' ', true, json::error_handler_t::replace);
    return InvalidData("{}: {} is {}, expected {}", source_name_, key, text.substr(0, 80),
                       expected);
  }

 private:
  static bool IsFinite(const json& field) {
    return field.is_number() && std::isfinite(field.get<double>());
  }

  const json& object_;
  std::string_view source_name_;
};

Status CheckProcessor(const OptionalFields& fields, std::string_view source_name) {
  if (const json* type = fields.Find("image_processor_type")) {
    if (*type != "Qwen2VLImageProcessor" && *type != "Qwen2VLImageProcessorFast") {
      return Unsupported("{}: image_processor_type {}, only Qwen2VLImageProcessor is known",
                         source_name,
                         type->dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 80));
    }
  }
  int64_t resample = kPillowBicubic;
  EXPERTILE_RETURN_IF_ERROR(fields.Read("resample", resample, 5));
  if (resample != kPillowBicubic) {
    return Unsupported("{}: resample {}, only {} (bicubic) is known", source_name, resample,
                       kPillowBicubic);
  }
  return {};
}

Status ReadPixelBounds(const OptionalFields& fields, std::string_view source_name,
                       VisionPreprocessorConfig& config) {
  if (const json* size = fields.Find("size")) {
    if (!size->is_object()) return fields.Refuse("size", "an object");
    const OptionalFields bounds(*size, source_name);
    EXPERTILE_RETURN_IF_ERROR(bounds.Read("min_pixels", config.min_pixels, kMaxPixels));
    EXPERTILE_RETURN_IF_ERROR(bounds.Read("max_pixels", config.max_pixels, kMaxPixels));
    EXPERTILE_RETURN_IF_ERROR(bounds.Read("shortest_edge", config.min_pixels, kMaxPixels));
    EXPERTILE_RETURN_IF_ERROR(bounds.Read("longest_edge", config.max_pixels, kMaxPixels));
  }
  EXPERTILE_RETURN_IF_ERROR(fields.Read("min_pixels", config.min_pixels, kMaxPixels));
  EXPERTILE_RETURN_IF_ERROR(fields.Read("max_pixels", config.max_pixels, kMaxPixels));
  if (config.min_pixels > config.max_pixels) {
    return InvalidData("{}: at least {} pixels (shortest_edge), but at most {} (longest_edge)",
                       source_name, config.min_pixels, config.max_pixels);
  }
  return {};
}

Result<VisionPreprocessorConfig> ReadConfig(const OptionalFields& fields,
                                            std::string_view source_name) {
  VisionPreprocessorConfig config;
  EXPERTILE_RETURN_IF_ERROR(CheckProcessor(fields, source_name));
  EXPERTILE_RETURN_IF_ERROR(ReadPixelBounds(fields, source_name, config));
  EXPERTILE_RETURN_IF_ERROR(fields.Read("patch_size", config.patch_size, kMaxPatchSize));
  EXPERTILE_RETURN_IF_ERROR(
      fields.Read("temporal_patch_size", config.temporal_patch_size, kMaxTemporalPatchSize));
  EXPERTILE_RETURN_IF_ERROR(fields.Read("merge_size", config.merge_size, kMaxMergeSize));
  EXPERTILE_RETURN_IF_ERROR(fields.Read("do_resize", config.do_resize));
  EXPERTILE_RETURN_IF_ERROR(fields.Read("do_rescale", config.do_rescale));
  EXPERTILE_RETURN_IF_ERROR(fields.ReadNonZero("rescale_factor", config.rescale_factor));
  EXPERTILE_RETURN_IF_ERROR(fields.Read("do_normalize", config.do_normalize));
  EXPERTILE_RETURN_IF_ERROR(fields.Read("image_mean", config.mean));
  EXPERTILE_RETURN_IF_ERROR(fields.Read("image_std", config.std));
  for (const double std : config.std) {
    if (std == 0.0) return fields.Refuse("image_std", "3 numbers, none of them 0");
  }
  bool do_convert_rgb = true;  // decoded images are RGB either way
  EXPERTILE_RETURN_IF_ERROR(fields.Read("do_convert_rgb", do_convert_rgb));
  return config;
}

}  // namespace

Result<VisionPreprocessorConfig> ParseVisionPreprocessorConfig(std::string_view text,
                                                               std::string_view source_name) {
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return InvalidData("{}: not a JSON object", source_name);
  const auto nested = root.find("image_processor");
  const json& object = nested != root.end() && nested->is_object() ? *nested : root;
  return ReadConfig(OptionalFields(object, source_name), source_name);
}

}  // namespace expertile
