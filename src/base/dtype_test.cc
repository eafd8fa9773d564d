#include "base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace expertile {
namespace {

TEST(DType, TableIsIndexedByItsOwnEnum) {
  for (size_t i = 0; i < kDTypes.size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(kDTypes[i].dtype), i);
    EXPECT_EQ(DTypeFromName(kDTypes[i].name), kDTypes[i].dtype);
  }
  EXPECT_FALSE(DTypeFromName("F8_E4M3").has_value());
}

TEST(BFloat16, EveryCodeSurvivesTheRoundTrip) {
  for (uint32_t code = 0; code <= 0xffff; ++code) {
    const float value = BFloat16ToFloat(static_cast<uint16_t>(code));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(value))));
    } else {
      EXPECT_EQ(FloatToBFloat16(value), code);
    }
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // a tie, even below
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // a tie, even above
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(FloatToBFloat16(std::numeric_limits<float>::max()), 0x7f80);
}

#ifdef __FLT16_MAX__
TEST(Half, EveryCodeIsWhatTheCompilerSays) {
  for (uint32_t code = 0; code <= 0xffff; ++code) {
    const float expected = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(code)));
    const float value = HalfToFloat(static_cast<uint16_t>(code));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << code;
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(expected)) << code;
    }
  }
}
#endif

}  // namespace
}  // namespace expertile
