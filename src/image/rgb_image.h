// RgbImage: a decoded picture as 8-bit red, green, blue samples.
// Not a tensor of a model: that is PixelPatches (image/vision_preprocessor.h).
#pragma once

#include <cstdint>
#include <vector>

namespace expertile {

inline constexpr int64_t kRgbChannels = 3;

struct RgbImage {
  int64_t height = 0;
  int64_t width = 0;
  std::vector<uint8_t> samples;  // [height, width, 3]
};

}  // namespace expertile
