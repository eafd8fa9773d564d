#include "formats/mxfp4.h"

#include <gtest/gtest.h>

#include <cmath>

namespace expertile {
namespace {

// The specification's formula, independent of the table: (-1)^s 2^(e-1) (1 + m/2), or m/2 when e is
// 0.
double ElementBySpecification(int code) {
  const int sign = code >> 3;
  const int exponent = (code >> 1) & 3;
  const int mantissa = code & 1;
  const double magnitude =
      exponent == 0 ? 0.5 * mantissa : std::ldexp(1.0 + 0.5 * mantissa, exponent - 1);
  return sign != 0 ? -magnitude : magnitude;
}

TEST(Mxfp4, EveryCodeAtEveryScale) {
  for (int scale = 0; scale < 256; ++scale) {
    for (int low = 0; low < 16; ++low) {
      const int high = 15 - low;
      std::array<std::byte, kMxfp4BlockBytes> codes;
      codes.fill(static_cast<std::byte>(low | (high << 4)));
      std::array<float, kMxBlockSize> values;
      DecodeMxfp4Block(codes, static_cast<uint8_t>(scale), values);
      for (int i = 0; i < kMxBlockSize; ++i) {
        const int code = i % 2 == 0 ? low : high;
        if (scale == 255) {
          EXPECT_TRUE(std::isnan(values[i])) << code;
          continue;
        }
        const auto expected =
            static_cast<float>(std::ldexp(ElementBySpecification(code), scale - 127));
        EXPECT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected))
            << code << " at scale " << scale;
      }
    }
  }
}

}  // namespace
}  // namespace expertile
