// MXINT8 of the OCP Microscaling specification v1.0: blocks of 32 eight-bit integers in units of
// 1/64 that share an E8M0 scale. Here the range is symmetric: -128 is read, and never written.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "formats/mx_block.h"

namespace expertile {

inline constexpr int kMxint8LargestExponent = 0;  // the largest element is 127/64

// The code nearest to `value`, ties to even; at most 127 of either sign.
inline int8_t Mxint8Code(double value) {
  constexpr double kNoFraction = 0x1.8p52;  // what is added to it has no bits for a fraction
  const double nearest = (std::clamp(value * 64.0, -127.0, 127.0) + kNoFraction) - kNoFraction;
  return static_cast<int8_t>(nearest);
}

// Encodes a block of at most 32 values; returns its scale. Encoding what was decoded gives the same
// codes and scale.
inline uint8_t EncodeMxint8(std::span<const float> values, std::span<int8_t> codes) {
  const uint8_t scale = SharedScale(values, kMxint8LargestExponent);
  if (scale == kE8M0NaN) {
    std::ranges::fill(codes, int8_t{0});
    return scale;
  }
  const double factor = std::ldexp(1.0, 127 - static_cast<int>(scale));  // exact, as are products
  for (size_t i = 0; i < values.size(); ++i) {
    codes[i] = Mxint8Code(static_cast<double>(values[i]) * factor);
  }
  return scale;
}

inline void DecodeMxint8(std::span<const int8_t> codes, uint8_t scale, std::span<float> values) {
  const float unit = E8M0ToFloat(scale);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(codes[i]) / 64.0f * unit;
  }
}

}  // namespace expertile
