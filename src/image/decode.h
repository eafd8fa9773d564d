// Decoding of PNG and JPEG bytes into RgbImage, with the samples that Pillow's convert("RGB")
// gives. Not a resizer, and not a normaliser: image/resize.h and image/vision_preprocessor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "expertile/result.h"
#include "image/rgb_image.h"

namespace expertile {

// What an untrusted header may ask for. Checked before anything is allocated from it.
struct ImageLimits {
  int64_t max_side = 65535;         // pixels; the largest side that JPEG can state
  int64_t max_pixels = 89'478'485;  // 256 MiB of RGB samples: Pillow's own warning threshold
};

// Decodes a PNG or JPEG file, told apart by its first bytes. `source_name` is what errors call it.
//
// Follows transformers' load_image: Pillow's decoders, the EXIF orientation applied (from the EXIF
// block only, not from XMP), then convert("RGB"): grey is repeated, palettes are looked up, alpha
// and transparency are dropped, gamma chunks are ignored, 16-bit colour keeps its high byte, 16-bit
// grey saturates at 255, CMYK is taken as Adobe writes it (inverted).
//
// Errors: kUnsupported for another file type, a bit depth or component count that Pillow refuses as
// well; kInvalidArgument for an image over `limits`; kInvalidData for truncated or damaged bytes.
Result<RgbImage> DecodeImage(std::span<const std::byte> bytes, std::string_view source_name,
                             const ImageLimits& limits = {});

// DecodeImage of a file's bytes.
Result<RgbImage> LoadImage(const std::filesystem::path& path, const ImageLimits& limits = {});

}  // namespace expertile
