// The header of a BMP file: where its pixels lie and how they are made, as Pillow reads it.
// Not a decoder: image/bmp_decoder.cc reads the pixels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "expertile/result.h"

namespace expertile {

enum class BmpCompression { kNone = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3 };

// Where a channel lies in a pixel of 16, 24 or 32 bits: its lowest bit and its number of bits.
struct BmpChannel {
  int shift = 0;
  int num_bits = 8;
};

struct BmpHeader {
  int64_t width = 0;
  int64_t height = 0;
  bool top_down = false;
  int bits_per_pixel = 0;  // 1, 4, 8, 16, 24, 32
  BmpCompression compression = BmpCompression::kNone;
  std::array<BmpChannel, 3> channels;           // red, green, blue; of pixels without a palette
  std::vector<std::array<uint8_t, 3>> palette;  // [256] red, green, blue of each index, or empty
  size_t pixels_offset = 0;                     // in the file

  bool is_run_length() const {
    return compression == BmpCompression::kRle8 || compression == BmpCompression::kRle4;
  }
};

// Errors: kUnsupported for a header, depth, compression or channel layout that Pillow refuses as
// well; kInvalidData for a file that ends within its header.
Result<BmpHeader> ReadBmpHeader(std::span<const std::byte> file, std::string_view source_name);

}  // namespace expertile
