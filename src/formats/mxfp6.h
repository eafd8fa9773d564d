// MXFP6 of the OCP Microscaling specification v1.0, in its E2M3 variant: blocks of 32 six-bit
// elements that share an E8M0 scale. Not bulk decoding for products: targets have their own, tested
// against this.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "formats/mx_block.h"

namespace expertile {

inline constexpr int kMxfp6Codes = 64;
inline constexpr int kMxfp6LargestExponent = 2;  // the largest element is 7.5 = 2^2 * 1.875

// E2M3: sign, two exponent bits (bias 1), three mantissa bits; without infinities and NaN.
constexpr float Mxfp6Value(uint8_t code) {
  const int exponent = code >> 3 & 3;
  const auto mantissa = static_cast<float>(code & 7);
  const float magnitude = exponent == 0
                              ? mantissa / 8.0f
                              : static_cast<float>(1 << exponent) / 2.0f * (1.0f + mantissa / 8.0f);
  return (code & 32) != 0 ? -magnitude : magnitude;
}

// The code nearest to `value`, ties to the even code; beyond 7.5 the largest one.
uint8_t Mxfp6Code(double value);

// A block of at most 32 values: its scale and a code each.
struct Mxfp6Block {
  uint8_t scale = 0;
  std::array<uint8_t, kMxBlockSize> codes = {};
};
Mxfp6Block EncodeMxfp6(std::span<const float> values);
void DecodeMxfp6(const Mxfp6Block& block, std::span<float> values);

// What is left of a row when it is kept in MXFP6: blocks from its first element on.
void RoundToMxfp6(std::span<float> row);

}  // namespace expertile
