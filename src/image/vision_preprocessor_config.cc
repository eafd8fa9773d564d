#include <algorithm>
#include <string>

#include "base/error.h"
#include "formats/json.h"
#include "image/vision_preprocessor.h"

namespace expertile {
namespace {

constexpr Bounds<int64_t> kPatchSizes = {1, 256};
constexpr Bounds<int64_t> kTemporalPatchSizes = {1, 16};
constexpr Bounds<int64_t> kMergeSizes = {1, 16};
constexpr Bounds<int64_t> kPixelCounts = {1, int64_t{1} << 40};
constexpr Bounds<double> kMeans = {-1e6, 1e6};
constexpr Bounds<double> kDivisors = {1e-6, 1e6};
constexpr int64_t kPillowBicubic = 3;

Status CheckProcessor(const JsonObject& json, std::string_view source_name) {
  EXPERTILE_ASSIGN(const std::string type,
                   json.GetString("image_processor_type", "Qwen2VLImageProcessor"));
  if (type != "Qwen2VLImageProcessor" && type != "Qwen2VLImageProcessorFast") {
    return Unsupported("{}: image_processor_type {}, only Qwen2VLImageProcessor is known",
                       source_name, OneLine(type));
  }
  EXPERTILE_ASSIGN(const int64_t resample, json.GetInt("resample", kPillowBicubic));
  if (resample != kPillowBicubic) {
    return Unsupported("{}: resample {}, only {} (bicubic) is known", source_name, resample,
                       kPillowBicubic);
  }
  return {};
}

// Reads one pair of pixel bounds, as far as it is there.
Status ReadPixelBounds(const JsonObject& json, const char* min_key, const char* max_key,
                       VisionPreprocessorConfig& config) {
  EXPERTILE_ASSIGN(config.min_pixels, json.GetInt(min_key, config.min_pixels, kPixelCounts));
  EXPERTILE_ASSIGN(config.max_pixels, json.GetInt(max_key, config.max_pixels, kPixelCounts));
  return {};
}

// The three spellings, from the one that yields to the one that wins.
Status ReadAllPixelBounds(const JsonObject& json, std::string_view source_name,
                          VisionPreprocessorConfig& config) {
  if (json.Has("size")) {
    EXPERTILE_ASSIGN(const JsonObject size, json.GetObject("size"));
    EXPERTILE_RETURN_IF_ERROR(ReadPixelBounds(size, "min_pixels", "max_pixels", config));
    EXPERTILE_RETURN_IF_ERROR(ReadPixelBounds(size, "shortest_edge", "longest_edge", config));
  }
  EXPERTILE_RETURN_IF_ERROR(ReadPixelBounds(json, "min_pixels", "max_pixels", config));
  if (config.min_pixels > config.max_pixels) {
    return InvalidData("{}: at least {} pixels (shortest_edge), but at most {} (longest_edge)",
                       source_name, config.min_pixels, config.max_pixels);
  }
  return {};
}

Status ReadPerChannel(const JsonObject& json, const char* key, Bounds<double> bounds,
                      std::string_view source_name, std::array<double, kRgbChannels>& values) {
  if (!json.Has(key)) return {};
  EXPERTILE_ASSIGN(const auto list, json.GetFloatList(key, bounds));
  if (list.size() != values.size()) {
    return InvalidData("{}: {} has {} numbers, expected {}", source_name, key, list.size(),
                       values.size());
  }
  std::copy(list.begin(), list.end(), values.begin());
  return {};
}

Result<VisionPreprocessorConfig> ReadConfig(const JsonObject& json, std::string_view source_name) {
  VisionPreprocessorConfig config;
  EXPERTILE_RETURN_IF_ERROR(CheckProcessor(json, source_name));
  EXPERTILE_RETURN_IF_ERROR(ReadAllPixelBounds(json, source_name, config));
  EXPERTILE_ASSIGN(config.patch_size, json.GetInt("patch_size", config.patch_size, kPatchSizes));
  EXPERTILE_ASSIGN(
      config.temporal_patch_size,
      json.GetInt("temporal_patch_size", config.temporal_patch_size, kTemporalPatchSizes));
  EXPERTILE_ASSIGN(config.merge_size, json.GetInt("merge_size", config.merge_size, kMergeSizes));
  EXPERTILE_ASSIGN(config.do_resize, json.GetBool("do_resize", config.do_resize));
  EXPERTILE_ASSIGN(config.do_rescale, json.GetBool("do_rescale", config.do_rescale));
  EXPERTILE_ASSIGN(config.rescale_factor,
                   json.GetFloat("rescale_factor", config.rescale_factor, kDivisors));
  EXPERTILE_ASSIGN(config.do_normalize, json.GetBool("do_normalize", config.do_normalize));
  EXPERTILE_RETURN_IF_ERROR(ReadPerChannel(json, "image_mean", kMeans, source_name, config.mean));
  EXPERTILE_RETURN_IF_ERROR(ReadPerChannel(json, "image_std", kDivisors, source_name, config.std));
  return config;
}

}  // namespace

Result<VisionPreprocessorConfig> ParseVisionPreprocessorConfig(std::string_view text,
                                                               std::string_view source_name) {
  EXPERTILE_ASSIGN(const JsonObject root, JsonObject::Parse(text, source_name));
  if (!root.Has("image_processor")) return ReadConfig(root, source_name);
  EXPERTILE_ASSIGN(const JsonObject nested, root.GetObject("image_processor"));
  return ReadConfig(nested, source_name);
}

}  // namespace expertile
