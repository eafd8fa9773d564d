// MXFP4 of the OCP Microscaling specification v1.0: blocks of 32 E2M1 elements that share an E8M0
// scale. Not bulk decoding for products: targets have their own, tested against this.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/mx_block.h"

namespace expertile {

inline constexpr int kMxfp4BlockBytes = 16;  // two elements a byte, the even one in the low nibble

// E2M1: sign, two exponent bits (bias 1), one mantissa bit.
inline constexpr std::array<float, 16> kMxfp4Values = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,
                                                       4.0f,  6.0f,  -0.0f, -0.5f, -1.0f, -1.5f,
                                                       -2.0f, -3.0f, -4.0f, -6.0f};

// A block's 32 elements. 6 * 2^127 overflows to infinity; everything else is exact.
constexpr void DecodeMxfp4Block(std::span<const std::byte, kMxfp4BlockBytes> codes, uint8_t scale,
                                std::span<float, kMxBlockSize> out) {
  const float factor = E8M0ToFloat(scale);
  for (int i = 0; i < kMxfp4BlockBytes; ++i) {
    const auto pair = static_cast<uint8_t>(codes[i]);
    out[2 * i] = kMxfp4Values[pair & 15] * factor;
    out[2 * i + 1] = kMxfp4Values[pair >> 4] * factor;
  }
}

}  // namespace expertile
