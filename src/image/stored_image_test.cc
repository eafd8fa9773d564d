#include "image/stored_image.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace expertile {
namespace {

RgbImage Counted(int64_t height, int64_t width) {
  RgbImage image = BlackImage(height, width);
  for (size_t i = 0; i < image.samples.size(); ++i) image.samples[i] = static_cast<uint8_t>(i);
  return image;
}

TEST(TurnUpright, TransposedOrientationsUndoEachOther) {
  const RgbImage image = Counted(2, 3);
  for (int code = 1; code <= 8; ++code) {
    const auto turned = TurnUpright({image, static_cast<ExifOrientation>(code)});
    const int undo = code == 6 ? 8 : code == 8 ? 6 : code;
    const auto back = TurnUpright({turned, static_cast<ExifOrientation>(undo)});
    EXPECT_EQ(turned.height, code >= 5 ? 3 : 2);
    EXPECT_EQ(back.samples, image.samples) << code;
  }
}

TEST(CopyUprightRows, AnyBandIsThatPartOfTheWhole) {
  const RgbImage image = Counted(5, 7);
  for (int code = 1; code <= 8; ++code) {
    const StoredImage stored{image, static_cast<ExifOrientation>(code)};
    const RgbImage upright = TurnUpright(stored);
    for (int64_t first = 0; first < upright.height; ++first) {
      for (int64_t count = 1; first + count <= upright.height; ++count) {
        RgbImage band = BlackImage(count, upright.width);
        CopyUprightRows(stored, first, count, band.samples.data());
        EXPECT_TRUE(std::equal(band.samples.begin(), band.samples.end(), upright.row(first)))
            << code << " " << first << " " << count;
      }
    }
  }
}

}  // namespace
}  // namespace expertile
