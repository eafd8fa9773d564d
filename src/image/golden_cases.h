// What the image tests share: the committed goldens and the noise images that they are made from.
// For tests only.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "image/rgb_image.h"

namespace expertile {

inline std::string ImageGoldenPath(const std::string& name) {
  return std::string(EXPERTILE_SOURCE_DIR "/tests/goldens/image/") + name;
}

// The cases of one kind that tools/make_image_goldens.py wrote to goldens.json, or
// tools/make_decode_goldens.py to decode.json.
inline nlohmann::json ImageGoldens(const char* kind, const char* file = "goldens.json") {
  const auto text = ReadTextFile(ImageGoldenPath(file));
  return text ? nlohmann::json::parse(*text).at(kind) : nlohmann::json();
}

// The image that `noise` of those tools makes from the same arguments.
inline RgbImage NoiseImage(int64_t height, int64_t width, uint32_t seed) {
  RgbImage image{height, width, {}};
  for (int64_t i = 0; i < height * width * kRgbChannels; ++i) {
    seed = seed * 1664525u + 1013904223u;
    image.samples.push_back(static_cast<uint8_t>(seed >> 24));
  }
  return image;
}

}  // namespace expertile
