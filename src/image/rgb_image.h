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

  uint8_t* row(int64_t y) { return samples.data() + y * width * kRgbChannels; }
  const uint8_t* row(int64_t y) const { return samples.data() + y * width * kRgbChannels; }
};

// An image of black pixels.
inline RgbImage BlackImage(int64_t height, int64_t width) {
  return {height, width, std::vector<uint8_t>(height * width * kRgbChannels)};
}

}  // namespace expertile
