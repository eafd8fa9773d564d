// The Qwen2-VL / Qwen3-VL image preprocessor: an RGB image to the pixel patches of a vision tower.
// Not a decoder (image/decode.h), and nothing of the tower itself (model/vision_spec.h).
//
// Follows transformers' Qwen2VLImageProcessor (image_processing_qwen2_vl.py), bit for bit on CPU.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "expertile/result.h"
#include "formats/json.h"
#include "image/image_grid.h"
#include "image/stored_image.h"

namespace expertile {

// What preprocessor_config.json says; the values here are what its absent keys mean.
struct VisionPreprocessorConfig {
  bool do_resize = true;
  int64_t min_pixels = 56 * 56;         // of the resized image
  int64_t max_pixels = 28 * 28 * 1280;  // of the resized image
  int64_t patch_size = 14;
  int64_t temporal_patch_size = 2;  // copies of a still image in each patch
  int64_t merge_size = 2;           // patches on a side of what becomes one token
  bool do_rescale = true;
  double rescale_factor = 1.0 / 255.0;
  bool do_normalize = true;
  std::array<double, kRgbChannels> mean = {0.48145466, 0.4578275, 0.40821073};
  std::array<double, kRgbChannels> std = {0.26862954, 0.26130258, 0.27577711};

  int64_t patch_values() const {
    return kRgbChannels * temporal_patch_size * patch_size * patch_size;
  }
};

// Reads the fields of preprocessor_config.json, or of a processor_config.json's "image_processor",
// which `source_name` names in errors. Pixel bounds stand in "size" as shortest_edge and
// longest_edge, or beside it as min_pixels and max_pixels; where both are there they must agree.
// What null means is transformers' again: no resizing, rescaling or normalising where do_… is null.
// Errors: kInvalidData for a value that means nothing; kUnsupported for another
// image_processor_type or a resampling filter that is not bicubic.
Result<VisionPreprocessorConfig> ReadVisionPreprocessorConfig(const JsonObject& json,
                                                              std::string_view source_name);

struct ImageSize {
  int64_t height = 0;  // pixels
  int64_t width = 0;   // pixels

  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

// The size near `size` whose sides are multiples of patch_size * merge_size and whose pixel count
// lies in [min_pixels, max_pixels] as far as that goes: transformers' smart_resize. Sides are at
// least 1. Errors: kInvalidArgument for a side over 200 times the other, or a result of more than
// 2^26 pixels.
Result<ImageSize> SmartResize(const VisionPreprocessorConfig& config, ImageSize size);

// The patches of an image of this size, resized as the configuration says. Errors: those of
// SmartResize, or without do_resize kInvalidArgument for a size that patches do not tile.
Result<ImageGrid> GridOf(const VisionPreprocessorConfig& config, ImageSize size);

struct PixelPatches {
  ImageGrid grid;
  // [grid.num_patches(), 3 * temporal_patch_size * patch_size^2]. Patches come block by block of
  // merge_size x merge_size, row-major within a block and over blocks; a patch is
  // [channel, frame, row, column].
  std::vector<float> values;
};

// Turns upright, resizes, rescales, normalises and cuts up an image. Errors: those of GridOf.
Result<PixelPatches> MakePixelPatches(const VisionPreprocessorConfig& config,
                                      const StoredImage& image);

}  // namespace expertile
