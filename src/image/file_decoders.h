// The decoders of single file types. Not public entries: image/decode.h picks one by the first
// bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "image/decode.h"

namespace expertile {

Result<StoredImage> DecodePng(std::span<const std::byte> bytes, std::string_view source_name,
                              const ImageLimits& limits);
Result<StoredImage> DecodeJpeg(std::span<const std::byte> bytes, std::string_view source_name,
                               const ImageLimits& limits);
Result<StoredImage> DecodeWebp(std::span<const std::byte> bytes, std::string_view source_name,
                               const ImageLimits& limits);
Result<StoredImage> DecodeGif(std::span<const std::byte> bytes, std::string_view source_name,
                              const ImageLimits& limits);
Result<StoredImage> DecodeBmp(std::span<const std::byte> bytes, std::string_view source_name,
                              const ImageLimits& limits);

// Refuses an empty image and one over `limits`. Sides are below 2^32.
Status CheckImageSize(int64_t height, int64_t width, std::string_view source_name,
                      const ImageLimits& limits);

// A black image, or kOutOfMemory. The size is checked before.
Result<RgbImage> NewImage(int64_t height, int64_t width, std::string_view source_name);

}  // namespace expertile
