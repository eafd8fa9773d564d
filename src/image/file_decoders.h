// The decoders of single file types. Not public entries: image/decode.h picks one by the first
// bytes and turns its result upright.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "image/decode.h"
#include "image/exif_orientation.h"

namespace expertile {

struct StoredImage {
  RgbImage image;  // as it lies in the file
  ExifOrientation orientation = ExifOrientation::kTopLeft;
};

Result<StoredImage> DecodePng(std::span<const std::byte> bytes, std::string_view source_name,
                              const ImageLimits& limits);
Result<StoredImage> DecodeJpeg(std::span<const std::byte> bytes, std::string_view source_name,
                               const ImageLimits& limits);

// Refuses an empty image and one over `limits`.
Status CheckImageSize(int64_t height, int64_t width, std::string_view source_name,
                      const ImageLimits& limits);

}  // namespace expertile
