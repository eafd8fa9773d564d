#include "image/exif_orientation.h"

#include <gtest/gtest.h>

#include <string>

namespace expertile {
namespace {

ExifOrientation Read(const std::string& tiff) {
  return ReadExifOrientation(std::as_bytes(std::span(tiff)));
}

const std::string kBigEndian("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 22);
const std::string kLittleEndian("II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", 22);

TEST(ReadExifOrientation, ReadsBothByteOrders) {
  EXPECT_EQ(Read(kBigEndian), ExifOrientation::kRightTop);
  EXPECT_EQ(Read(kLittleEndian), ExifOrientation::kRightTop);
}

TEST(ReadExifOrientation, AnythingMalformedMeansUpright) {
  for (size_t size = 0; size < 20; ++size) {
    EXPECT_EQ(Read(kLittleEndian.substr(0, size)), ExifOrientation::kTopLeft) << size;
  }
  for (const auto& [offset, byte] : {std::pair{0, 'J'},
                                     {2, '+'},
                                     {5, '\xff'},
                                     {7, '\xff'},
                                     {10, '\x13'},
                                     {12, '\x05'},
                                     {14, '\x02'},
                                     {18, '\x09'}}) {
    std::string tiff = kLittleEndian;
    tiff[offset] = byte;
    EXPECT_EQ(Read(tiff), ExifOrientation::kTopLeft) << offset;
  }
}

TEST(TurnUpright, TransposedOrientationsUndoEachOther) {
  RgbImage image{2, 3, {}};
  for (uint8_t i = 0; i < 18; ++i) image.samples.push_back(i);
  for (int code = 1; code <= 8; ++code) {
    const auto turned = TurnUpright(image, static_cast<ExifOrientation>(code));
    const int undo = code == 6 ? 8 : code == 8 ? 6 : code;
    const auto back = TurnUpright(turned, static_cast<ExifOrientation>(undo));
    EXPECT_EQ(turned.height, code >= 5 ? 3 : 2);
    EXPECT_EQ(back.samples, image.samples) << code;
  }
}

}  // namespace
}  // namespace expertile
