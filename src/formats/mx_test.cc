// The MX encoders: every code, and random values against an oracle that searches all elements.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "formats/mxfp6.h"
#include "formats/mxint8.h"
#include "tests/sanitized.h"

namespace expertile {
namespace {

// The specification's formula: (-1)^s 2^(e-1) (1 + m/8), or m/8 where e is 0.
double Mxfp6BySpecification(int code) {
  const int exponent = code >> 3 & 3;
  const int mantissa = code & 7;
  const double magnitude =
      exponent == 0 ? mantissa / 8.0 : std::ldexp(1.0 + mantissa / 8.0, exponent - 1);
  return (code & 32) != 0 ? -magnitude : magnitude;
}

TEST(Mxfp6, EveryCodeAtEveryScale) {
  for (int scale = 0; scale < 256; ++scale) {
    for (int code = 0; code < kMxfp6Codes; ++code) {
      Mxfp6Block block;
      block.scale = static_cast<uint8_t>(scale);
      block.codes.fill(static_cast<uint8_t>(code));
      std::array<float, kMxBlockSize> values;
      DecodeMxfp6(block, values);
      const auto expected = static_cast<float>(std::ldexp(Mxfp6BySpecification(code), scale - 127));
      for (const float value : values) {
        if (scale == 255) {
          ASSERT_TRUE(std::isnan(value));
        } else {
          ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(expected));
        }
      }
    }
  }
}

TEST(Mxfp6, EveryCodeComesBack) {
  for (int code = 0; code < kMxfp6Codes; ++code) {
    EXPECT_EQ(Mxfp6Code(Mxfp6BySpecification(code)), code);
  }
  // Under the largest element of its binade a block keeps its scale, and every code.
  for (int scale = 2; scale < 255; ++scale) {
    for (int code = 0; code < kMxfp6Codes; ++code) {
      Mxfp6Block block;
      block.scale = static_cast<uint8_t>(scale);
      block.codes.fill(static_cast<uint8_t>(code));
      block.codes[7] = 24;  // 4.0
      std::array<float, kMxBlockSize> values;
      DecodeMxfp6(block, values);
      if (!std::isfinite(values[0]) || !std::isfinite(values[7])) continue;  // beyond float32
      const Mxfp6Block again = EncodeMxfp6(values);
      ASSERT_EQ(again.scale, block.scale);
      ASSERT_EQ(again.codes, block.codes) << "scale " << scale << " code " << code;
    }
  }
}

// The nearest of all codes of the value's sign, the even one of two at the same distance.
uint8_t NearestMxfp6(double value) {
  int best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int code = 0; code < 32; ++code) {
    const double distance = std::fabs(Mxfp6BySpecification(code) - std::fabs(value));
    if (distance < least || (distance == least && code % 2 == 0)) {
      best = code;
      least = distance;
    }
  }
  return static_cast<uint8_t>(best | (std::signbit(value) ? 32 : 0));
}

TEST(Mxfp6, RoundsToTheNearest) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(-8.5, 8.5);
  const int num_values = kIsSanitized ? 50'000 : 1'000'000;
  for (int i = 0; i < num_values; ++i) {
    const double value = uniform(random);
    ASSERT_EQ(Mxfp6Code(value), NearestMxfp6(value)) << value;
  }
  for (int sixteenths = -160; sixteenths <= 160; ++sixteenths) {  // every tie
    ASSERT_EQ(Mxfp6Code(sixteenths / 16.0), NearestMxfp6(sixteenths / 16.0)) << sixteenths;
  }
  EXPECT_EQ(Mxfp6Code(1e300), 31);
  EXPECT_EQ(Mxfp6Code(-1e300), 63);
}

constexpr int kNumBlocks = kIsSanitized ? 6'000 : 60'000;

// A block of floats of any exponent within a window of `spread` binades below the largest.
std::vector<float> RandomBlock(std::mt19937_64& random, int size, int spread) {
  const int top = static_cast<int>(random() % 277) - 149;  // subnormals to the largest
  std::vector<float> values;
  for (int i = 0; i < size; ++i) {
    const double mantissa = 1.0 + static_cast<double>(random() % (1 << 23)) / (1 << 23);
    const double value = std::ldexp(mantissa, top - static_cast<int>(random() % spread));
    values.push_back(static_cast<float>(random() % 2 == 0 ? value : -value));
  }
  if (random() % 4 == 0) values[random() % values.size()] = 0.0f;
  return values;
}

int ExpectedScale(const std::vector<float>& values, int largest_exponent) {
  double largest = 0.0;
  for (const float value : values) largest = std::max(largest, std::fabs(double{value}));
  if (largest == 0.0) return 0;
  int exponent = 0;
  std::frexp(largest, &exponent);  // largest = f * 2^exponent, f in [0.5, 1)
  return std::clamp(exponent - 1 - largest_exponent + 127, 0, 254);
}

TEST(Mxfp6, BlocksAgreeWithTheOracle) {
  std::mt19937_64 random(2);
  for (int i = 0; i < kNumBlocks; ++i) {
    const auto values = RandomBlock(random, 1 + static_cast<int>(random() % 32), 1 + i % 12);
    const Mxfp6Block block = EncodeMxfp6(values);
    ASSERT_EQ(block.scale, ExpectedScale(values, 2));
    for (size_t j = 0; j < values.size(); ++j) {
      const double unscaled = std::ldexp(double{values[j]}, 127 - block.scale);
      ASSERT_EQ(block.codes[j], NearestMxfp6(unscaled)) << values[j] << " at " << int{block.scale};
    }
  }
}

TEST(Mxint8, BlocksAgreeWithTheOracle) {
  std::mt19937_64 random(3);
  for (int i = 0; i < kNumBlocks; ++i) {
    const auto values = RandomBlock(random, 1 + static_cast<int>(random() % 32), 1 + i % 12);
    std::vector<int8_t> codes(values.size());
    const uint8_t scale = EncodeMxint8(values, codes);
    ASSERT_EQ(scale, ExpectedScale(values, 0));
    for (size_t j = 0; j < values.size(); ++j) {
      const double units = std::ldexp(double{values[j]}, 127 - scale) * 64.0;
      const double error = std::fabs(codes[j] - units);
      const bool saturates = std::fabs(units) > 127.0;
      ASSERT_TRUE(saturates ? std::abs(codes[j]) == 127 : error <= 0.5) << values[j];
      const bool is_odd = codes[j] % 2 != 0;
      ASSERT_FALSE(!saturates && error == 0.5 && is_odd) << "a tie";
    }
    std::vector<float> decoded(values.size());
    DecodeMxint8(codes, scale, decoded);
    std::vector<int8_t> again(values.size());
    ASSERT_EQ(EncodeMxint8(decoded, again), scale);
    ASSERT_EQ(again, codes);
  }
}

TEST(Mxint8, EveryCodeAtEveryScale) {
  for (int scale = 0; scale < 256; ++scale) {
    for (int code = -128; code < 128; ++code) {
      const auto byte = static_cast<int8_t>(code);
      float value = 0.0f;
      DecodeMxint8({&byte, 1}, static_cast<uint8_t>(scale), {&value, 1});
      if (scale == 255) {
        ASSERT_TRUE(std::isnan(value));
      } else {
        ASSERT_EQ(value, static_cast<float>(std::ldexp(code / 64.0, scale - 127)));
      }
    }
  }
}

TEST(Mx, ABlockWithoutFiniteValuesIsNaN) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> row(40, 1.0f);
    row[35] = bad;
    RoundToMxfp6(row);
    EXPECT_EQ(row[31], 1.0f) << "another block";
    EXPECT_TRUE(std::isnan(row[32]));
    std::vector<int8_t> codes(8);
    EXPECT_EQ(EncodeMxint8(std::vector<float>(8, bad), codes), kE8M0NaN);
  }
}

}  // namespace
}  // namespace expertile
