#include "image/vision_preprocessor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "image/resize.h"

namespace expertile {
namespace {

constexpr int64_t kMaxAspectRatio = 200;
constexpr int64_t kMaxResizedPixels = int64_t{1} << 26;

using SampleTable = std::array<float, 256>;  // a sample's value after rescaling and normalising

// In the order of transformers' rescale_and_normalize: where both apply, mean and std are divided
// by the rescale factor instead, all in float32.
SampleTable MakeSampleTable(const VisionPreprocessorConfig& config, int64_t channel) {
  const float unscale = config.do_rescale ? static_cast<float>(1.0 / config.rescale_factor) : 1.0f;
  const float mean = static_cast<float>(config.mean[channel]) * unscale;
  const float std = static_cast<float>(config.std[channel]) * unscale;
  const float rescale = config.do_rescale ? static_cast<float>(config.rescale_factor) : 1.0f;
  SampleTable table;
  for (int sample = 0; sample < 256; ++sample) {
    const auto value = static_cast<float>(sample);
    table[sample] = config.do_normalize ? (value - mean) / std : value * rescale;
  }
  return table;
}

// Appends one frame of one channel of the patch whose top left pixel is (top, left).
void AppendPatchFrame(const RgbImage& image, const SampleTable& table, int64_t channel, int64_t top,
                      int64_t left, int64_t patch_size, std::vector<float>& values) {
  for (int64_t y = top; y < top + patch_size; ++y) {
    const uint8_t* sample = &image.samples[(y * image.width + left) * kRgbChannels + channel];
    for (int64_t x = 0; x < patch_size; ++x) values.push_back(table[sample[x * kRgbChannels]]);
  }
}

PixelPatches CutPatches(const VisionPreprocessorConfig& config, const RgbImage& image) {
  const int64_t patch_size = config.patch_size;
  const int64_t block_size = patch_size * config.merge_size;
  std::array<SampleTable, kRgbChannels> tables;
  for (int64_t c = 0; c < kRgbChannels; ++c) tables[c] = MakeSampleTable(config, c);

  PixelPatches patches{{1, image.height / patch_size, image.width / patch_size}, {}};
  patches.values.reserve(patches.grid.num_patches() * config.patch_values());
  const auto append_patch = [&](int64_t top, int64_t left) {
    for (int64_t c = 0; c < kRgbChannels; ++c) {
      for (int64_t frame = 0; frame < config.temporal_patch_size; ++frame) {
        AppendPatchFrame(image, tables[c], c, top, left, patch_size, patches.values);
      }
    }
  };
  for (int64_t block_y = 0; block_y < image.height; block_y += block_size) {
    for (int64_t block_x = 0; block_x < image.width; block_x += block_size) {
      for (int64_t y = block_y; y < block_y + block_size; y += patch_size) {
        for (int64_t x = block_x; x < block_x + block_size; x += patch_size) append_patch(y, x);
      }
    }
  }
  return patches;
}

}  // namespace

Result<ImageSize> SmartResize(const VisionPreprocessorConfig& config, ImageSize size) {
  const auto [shorter, longer] = std::minmax(size.height, size.width);
  if (longer > kMaxAspectRatio * shorter) {
    return InvalidArgument("image of {}x{} pixels: one side is over {} times the other", size.width,
                           size.height, kMaxAspectRatio);
  }
  const int64_t factor = config.patch_size * config.merge_size;
  const auto multiple = [factor](double count) { return static_cast<int64_t>(count) * factor; };
  const auto height = static_cast<double>(size.height);
  const auto width = static_cast<double>(size.width);
  const auto block = static_cast<double>(factor);
  // nearbyint rounds ties to even, as Python's round does.
  ImageSize resized{multiple(std::nearbyint(height / block)),
                    multiple(std::nearbyint(width / block))};
  if (resized.height * resized.width > config.max_pixels) {
    const double beta = std::sqrt(height * width / static_cast<double>(config.max_pixels));
    resized = {std::max(factor, multiple(std::floor(height / beta / block))),
               std::max(factor, multiple(std::floor(width / beta / block)))};
  } else if (resized.height * resized.width < config.min_pixels) {
    const double beta = std::sqrt(static_cast<double>(config.min_pixels) / (height * width));
    resized = {multiple(std::ceil(height * beta / block)),
               multiple(std::ceil(width * beta / block))};
  }
  if (resized.height * resized.width > kMaxResizedPixels) {
    return InvalidArgument("image of {}x{} pixels: would be resized to {}x{}, over {} pixels",
                           size.width, size.height, resized.width, resized.height,
                           kMaxResizedPixels);
  }
  return resized;
}

Result<ImageGrid> GridOf(const VisionPreprocessorConfig& config, ImageSize size) {
  if (config.do_resize) {
    EXPERTILE_ASSIGN(size, SmartResize(config, size));
  }
  const int64_t block_size = config.patch_size * config.merge_size;
  if (size.height % block_size != 0 || size.width % block_size != 0) {
    return InvalidArgument(
        "image of {}x{} pixels: not made of blocks of {}x{}, and do_resize is off", size.width,
        size.height, block_size, block_size);
  }
  return ImageGrid{1, size.height / config.patch_size, size.width / config.patch_size};
}

Result<PixelPatches> MakePixelPatches(const VisionPreprocessorConfig& config,
                                      const StoredImage& image) {
  EXPERTILE_ASSIGN(const ImageGrid grid,
                   GridOf(config, {image.upright_height(), image.upright_width()}));
  return CutPatches(config,
                    ResizeBicubic(image, grid.h * config.patch_size, grid.w * config.patch_size));
}

}  // namespace expertile
