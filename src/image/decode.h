// Decoding of the bytes of PNG, JPEG, WebP, GIF and BMP files, with the samples that Pillow's
// convert("RGB") gives. Not a resizer, and not a normaliser: image/resize.h and
// image/vision_preprocessor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "expertile/result.h"
#include "image/stored_image.h"

namespace expertile {

// What an untrusted header may ask for. Checked before anything is allocated from it.
struct ImageLimits {
  int64_t max_pixels = 178'956'970;  // Pillow's own error bound: 2 Image.MAX_IMAGE_PIXELS
};

// Decodes a picture, its file type told by its first bytes. `source_name` is what errors call it.
//
// Follows transformers' load_image: Pillow's decoders, the orientation of EXIF or XMP (which is for
// the caller to apply), then convert("RGB"): grey is repeated, palettes are looked up, alpha and
// transparency are dropped, gamma and colour profiles are ignored, 16-bit colour keeps its high
// byte, 16-bit grey saturates at 255, CMYK is taken as Adobe writes it (inverted). Of an animation
// it is the first frame. What Pillow reads in spite of damage (check sums of PNG data, a JPEG
// scan with wrong codes, a file that ends right after its pixels) is read; what it refuses is
// refused.
//
// Memory: the RGB samples once, and what the library of the format needs: 4 bytes a pixel for
// lossless WebP, 2 bytes a coefficient for progressive JPEG.
//
// Errors: kUnsupported for another file type, a layout that Pillow refuses as well;
// kInvalidArgument for an image over `limits`; kInvalidData for truncated or damaged bytes.
Result<StoredImage> DecodeImage(std::span<const std::byte> bytes, std::string_view source_name,
                                const ImageLimits& limits = {});

// DecodeImage of a file's bytes.
Result<StoredImage> LoadImage(const std::filesystem::path& path, const ImageLimits& limits = {});

}  // namespace expertile
