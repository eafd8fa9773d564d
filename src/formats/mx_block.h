// What the formats of the OCP Microscaling specification v1.0 share: blocks of 32 elements under
// one E8M0 scale. Not the elements: mxfp4.h, mxfp6.h, mxint8.h.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

namespace expertile {

inline constexpr int kMxBlockSize = 32;  // elements that share a scale

inline constexpr uint8_t kE8M0NaN = 255;

// E8M0: 2^(code - 127), down to the subnormal 2^-127; 255 is NaN.
constexpr float E8M0ToFloat(uint8_t code) {
  if (code == kE8M0NaN) return std::numeric_limits<float>::quiet_NaN();
  if (code == 0) return 0x1p-127f;
  return std::bit_cast<float>(static_cast<uint32_t>(code) << 23);
}

// The scale of a block (section 6.3): floor(log2(max |value|)) less the exponent of the element
// format's largest power of two, within what E8M0 holds. A block of zeros has the smallest scale;
// one with an infinity or a NaN has the scale NaN, which makes all of it NaN.
inline uint8_t SharedScale(std::span<const float> values, int largest_exponent) {
  float largest = 0.0f;
  for (const float value : values) {
    if (!std::isfinite(value)) return kE8M0NaN;
    largest = std::max(largest, std::fabs(value));
  }
  if (largest == 0.0f) return 0;
  return static_cast<uint8_t>(std::clamp(std::ilogb(largest) - largest_exponent + 127, 0, 254));
}

// value / 2^(scale - 127), exactly.
inline double Unscaled(float value, uint8_t scale) {
  return std::ldexp(static_cast<double>(value), 127 - static_cast<int>(scale));
}

}  // namespace expertile
