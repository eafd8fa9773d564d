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
  return {};
}

Status CheckResampling(const JsonObject& json) {
  EXPERTILE_RETURN_IF_ERROR(json.RefuseNull({"resample"}));
  EXPERTILE_ASSIGN(const int64_t resample, json.GetInt("resample", kPillowBicubic));
  if (resample != kPillowBicubic) {
    return Unsupported("{}: {}, only {} (bicubic) is known", json.NameOf("resample"), resample,
                       kPillowBicubic);
  }
  return {};
}

// One bound of an image's pixels, `edge` of "size" or `pixels` beside it. Without a "size" the
// default stands; in one that is there, the bound must be, too.
Status ReadPixelBound(const JsonObject& json, const char* edge, const char* pixels,
                      int64_t& bound) {
  EXPERTILE_ASSIGN(const JsonObject size, json.GetObjectOrEmpty("size"));
  EXPERTILE_RETURN_IF_ERROR(size.RefuseDisagreement(edge, json, pixels));
  EXPERTILE_RETURN_IF_ERROR(size.RefuseDisagreement(edge, size, pixels));
  EXPERTILE_RETURN_IF_ERROR(size.RefuseDisagreement(pixels, json, pixels));
  const JsonObject& owner = json.Has(pixels) ? json : size;
  const char* key = owner.Has(pixels) ? pixels : edge;
  const auto fallback = json.Has("size") ? std::nullopt : std::optional(bound);
  EXPERTILE_ASSIGN(bound, owner.GetInt(key, fallback, kPixelCounts));
  return {};
}

Status ReadPixelBounds(const JsonObject& json, std::string_view source_name,
                       VisionPreprocessorConfig& config) {
  EXPERTILE_RETURN_IF_ERROR(ReadPixelBound(json, "shortest_edge", "min_pixels", config.min_pixels));
  EXPERTILE_RETURN_IF_ERROR(ReadPixelBound(json, "longest_edge", "max_pixels", config.max_pixels));
  if (config.min_pixels > config.max_pixels) {
    return InvalidData("{}: at least {} pixels (shortest_edge), but at most {} (longest_edge)",
                       source_name, config.min_pixels, config.max_pixels);
  }
  return {};
}

// A number for each channel, or one for all.
Status ReadPerChannel(const JsonObject& json, const char* key, Bounds<double> bounds,
                      std::array<double, kRgbChannels>& values) {
  EXPERTILE_RETURN_IF_ERROR(json.RefuseNull({key}));
  if (!json.Has(key)) return {};
  if (json.IsNumber(key)) {
    EXPERTILE_ASSIGN(const double value, json.GetFloat(key, kRequired, bounds));
    values.fill(value);
    return {};
  }
  EXPERTILE_ASSIGN(const auto list, json.GetFloatList(key, bounds));
  if (list.size() != values.size()) {
    return InvalidData("{} has {} numbers, expected {}", json.NameOf(key), list.size(),
                       values.size());
  }
  std::copy(list.begin(), list.end(), values.begin());
  return {};
}

// A step that may be left out: null is no, as an absent field is yes.
Result<bool> ReadStep(const JsonObject& json, const char* key) {
  return json.GetBool(key, !json.IsNull(key));
}

// What the steps that are done need; what the others would need is not read.
Status ReadSteps(const JsonObject& json, std::string_view source_name,
                 VisionPreprocessorConfig& config) {
  EXPERTILE_ASSIGN(config.do_resize, ReadStep(json, "do_resize"));
  if (config.do_resize) {
    EXPERTILE_RETURN_IF_ERROR(CheckResampling(json));
    EXPERTILE_RETURN_IF_ERROR(ReadPixelBounds(json, source_name, config));
  }
  EXPERTILE_ASSIGN(config.do_rescale, ReadStep(json, "do_rescale"));
  if (config.do_rescale) {
    EXPERTILE_RETURN_IF_ERROR(json.RefuseNull({"rescale_factor"}));
    EXPERTILE_ASSIGN(config.rescale_factor,
                     json.GetFloat("rescale_factor", config.rescale_factor, kDivisors));
  }
  EXPERTILE_ASSIGN(config.do_normalize, ReadStep(json, "do_normalize"));
  if (config.do_normalize) {
    EXPERTILE_RETURN_IF_ERROR(ReadPerChannel(json, "image_mean", kMeans, config.mean));
    EXPERTILE_RETURN_IF_ERROR(ReadPerChannel(json, "image_std", kDivisors, config.std));
  }
  return {};
}

}  // namespace

Result<VisionPreprocessorConfig> ReadVisionPreprocessorConfig(const JsonObject& json,
                                                              std::string_view source_name) {
  VisionPreprocessorConfig config;
  EXPERTILE_RETURN_IF_ERROR(CheckProcessor(json, source_name));
  EXPERTILE_RETURN_IF_ERROR(json.RefuseNull({"patch_size", "temporal_patch_size", "merge_size"}));
  EXPERTILE_ASSIGN(config.patch_size, json.GetInt("patch_size", config.patch_size, kPatchSizes));
  EXPERTILE_ASSIGN(
      config.temporal_patch_size,
      json.GetInt("temporal_patch_size", config.temporal_patch_size, kTemporalPatchSizes));
  EXPERTILE_ASSIGN(config.merge_size, json.GetInt("merge_size", config.merge_size, kMergeSizes));
  EXPERTILE_RETURN_IF_ERROR(ReadSteps(json, source_name, config));
  return config;
}

}  // namespace expertile
