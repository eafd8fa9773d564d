#include "image/exif_orientation.h"

#include <gtest/gtest.h>

#include <string>

namespace expertile {
namespace {

ExifOrientation Read(const std::string& exif) { return ReadOrientation({exif, ""}); }

const std::string kBigEndian("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 22);
const std::string kLittleEndian("II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", 22);

TEST(ReadOrientation, ReadsBothByteOrders) {
  EXPECT_EQ(Read(kBigEndian), ExifOrientation::kRightTop);
  EXPECT_EQ(Read(kLittleEndian), ExifOrientation::kRightTop);
}

TEST(ReadOrientation, AnythingMalformedMeansUpright) {
  for (size_t size = 0; size < 20; ++size) {
    EXPECT_EQ(Read(kLittleEndian.substr(0, size)), ExifOrientation::kTopLeft) << size;
  }
  for (const auto& [offset, byte] : {std::pair{0, 'J'},
                                     {2, '+'},
                                     {5, '\xff'},
                                     {7, '\xff'},
                                     {10, '\x13'},
                                     {12, '\x05'},
                                     {14, '\0'},
                                     {18, '\x09'}}) {
    std::string tiff = kLittleEndian;
    tiff[offset] = byte;
    EXPECT_EQ(Read(tiff), ExifOrientation::kTopLeft) << offset;
  }
}

TEST(ReadOrientation, TakesTheFirstOfWholeNumbers) {
  std::string tiff = kLittleEndian;
  for (const char type : {'\x03', '\x04', '\x08', '\x09'}) {
    tiff[12] = type;
    EXPECT_EQ(Read(tiff), ExifOrientation::kRightTop) << int{type};
  }
  tiff[12] = '\x03';
  tiff[14] = '\x02';  // two values in place
  EXPECT_EQ(Read(tiff), ExifOrientation::kRightTop);
  tiff[14] = '\x03';  // three values, of which the first is at the offset 22
  tiff[18] = '\x16';
  tiff += std::string("\x08\0\1\0\1\0", 6);
  EXPECT_EQ(Read(tiff), ExifOrientation::kLeftBottom);
}

TEST(ReadOrientation, PrefixesOfExifAreSkipped) {
  const std::string prefix("Exif\0\0", 6);
  EXPECT_EQ(Read(prefix + kBigEndian), ExifOrientation::kRightTop);
  EXPECT_EQ(Read(prefix + prefix + kBigEndian), ExifOrientation::kRightTop);
  EXPECT_EQ(Read(prefix + prefix + prefix + kBigEndian), ExifOrientation::kTopLeft);
}

TEST(ReadOrientation, OfXmpWhereExifHasNone) {
  EXPECT_EQ(ReadOrientation({"", R"(<a tiff:Orientation="8"/>)"}), ExifOrientation::kLeftBottom);
  EXPECT_EQ(ReadOrientation({"", "<tiff:Orientation>3</tiff:Orientation>"}),
            ExifOrientation::kBottomRight);
  EXPECT_EQ(ReadOrientation({"", R"(tiff:Orientation tiff:Orientation="2")"}),
            ExifOrientation::kTopRight);
  EXPECT_EQ(ReadOrientation({kBigEndian, R"(<a tiff:Orientation="8"/>)"}),
            ExifOrientation::kRightTop);
  for (const char* xmp : {"tiff:Orientation", "tiff:Orientation=\"", "tiff:Orientation=\"x\"",
                          "tiff:Orientation=\"9\"", "tiff:Orientation=\"0\""}) {
    EXPECT_EQ(ReadOrientation({"", xmp}), ExifOrientation::kTopLeft) << xmp;
  }
}

}  // namespace
}  // namespace expertile
