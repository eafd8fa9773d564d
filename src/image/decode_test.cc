#include "image/decode.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "image/golden_cases.h"

namespace expertile {
namespace {

std::string Hex(const std::vector<uint8_t>& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Result<RgbImage> DecodeText(const std::string& text, const ImageLimits& limits = {}) {
  return DecodeImage(std::as_bytes(std::span(text)), "picture", limits);
}

std::string Golden(const std::string& name) { return ReadTextFile(ImageGoldenPath(name)).value(); }

// Every file that fails must say so in one line that begins with its name.
void ExpectOneLineError(const Result<RgbImage>& image, ErrorCode code) {
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, code) << image.error().message;
  EXPECT_EQ(image.error().message.rfind("picture: ", 0), 0u) << image.error().message;
  EXPECT_EQ(image.error().message.find('\n'), std::string::npos) << image.error().message;
}

TEST(DecodeImage, EqualsPillowSampleForSample) {
  const auto cases = ImageGoldens("decode");
  ASSERT_FALSE(cases.empty());
  for (const auto& golden : cases) {
    SCOPED_TRACE(golden["file"].dump());
    const auto image = LoadImage(ImageGoldenPath(golden["file"]));
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->height, golden["height"]);
    EXPECT_EQ(image->width, golden["width"]);
    EXPECT_EQ(Hex(image->samples), golden["rgb"]);
  }
}

TEST(DecodeImage, EveryTruncationIsRefused) {
  for (const auto& golden : ImageGoldens("decode")) {
    const std::string name = golden["file"];
    SCOPED_TRACE(name);
    const std::string whole = Golden(name);
    for (size_t size = 8; size < whole.size(); size += 1 + whole.size() / 97) {
      SCOPED_TRACE(size);
      ExpectOneLineError(DecodeText(whole.substr(0, size)), ErrorCode::kInvalidData);
    }
  }
}

TEST(DecodeImage, AFlippedByteNeverBreaksMoreThanTheImage) {
  for (const auto& golden : ImageGoldens("decode")) {
    const std::string name = golden["file"];
    SCOPED_TRACE(name);
    const std::string whole = Golden(name);
    for (size_t i = 0; i < whole.size(); i += 3) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
      const auto image = DecodeText(damaged, {.max_side = 4096, .max_pixels = 1 << 20});
      if (image) {
        EXPECT_EQ(image->samples.size(),
                  static_cast<size_t>(image->height * image->width * kRgbChannels));
      } else {
        EXPECT_EQ(image.error().message.find('\n'), std::string::npos);
      }
    }
  }
}

TEST(DecodeImage, DamagedPngDataIsRefused) {
  std::string png = Golden("rgb8.png");
  png[png.find("IDAT") + 20] ^= 1;
  ExpectOneLineError(DecodeText(png), ErrorCode::kInvalidData);
}

TEST(DecodeImage, SizeLimitsAreCheckedBeforeAnythingIsDecoded) {
  for (const char* name : {"rgb8.png", "progressive.jpg"}) {
    SCOPED_TRACE(name);
    const std::string bytes = Golden(name);
    const RgbImage image = DecodeText(bytes).value();
    const int64_t longer = std::max(image.height, image.width);
    EXPECT_TRUE(DecodeText(bytes, {.max_side = longer}));
    ExpectOneLineError(DecodeText(bytes, {.max_side = longer - 1}), ErrorCode::kInvalidArgument);
    const int64_t num_pixels = image.height * image.width;
    EXPECT_TRUE(DecodeText(bytes, {.max_pixels = num_pixels}));
    ExpectOneLineError(DecodeText(bytes, {.max_pixels = num_pixels - 1}),
                       ErrorCode::kInvalidArgument);
  }
}

// A header and nothing else, with its right check sum (of 7000 x 7000 and 30000 x 30000 pixels).
TEST(DecodeImage, ADecompressionBombIsRefusedByItsHeader) {
  const std::string start("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  const std::string plausible("\0\0\x1b\x58\0\0\x1b\x58\x08\x02\0\0\0\x16\xf9\x2c\xd8", 17);
  const std::string huge("\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0\xe9\x45\x6f\xed", 17);
  const std::string data("\0\0\0\x04IDAT\0\0\0\0\0\0\0\0", 16);
  ExpectOneLineError(DecodeText(start + plausible + data), ErrorCode::kInvalidData);
  ExpectOneLineError(DecodeText(start + huge + data), ErrorCode::kInvalidArgument);
}

TEST(DecodeImage, OtherFilesAreRefusedWithTheirFirstBytes) {
  ExpectOneLineError(DecodeText(""), ErrorCode::kUnsupported);
  ExpectOneLineError(DecodeText("GIF89a"), ErrorCode::kUnsupported);
  EXPECT_NE(DecodeText("GIF89a").error().message.find("47 49 46 38 39 61"), std::string::npos);
  ExpectOneLineError(DecodeText(std::string("\x89PNG\r\n\x1a\n")), ErrorCode::kInvalidData);
  ExpectOneLineError(DecodeText(std::string("\xff\xd8\xff\xd9")), ErrorCode::kInvalidData);
}

TEST(LoadImage, MissingFileIsNamed) {
  const auto image = LoadImage(ImageGoldenPath("nowhere.png"));
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace expertile
