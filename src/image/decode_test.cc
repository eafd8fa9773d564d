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
  const auto refused = DecodeText(start + plausible + data);
  ASSERT_FALSE(refused);
  ExpectOneLineError(refused, ErrorCode::kInvalidData);
  EXPECT_NE(refused.error().message.find("7000x7000 pixels"), std::string::npos);
  ExpectOneLineError(DecodeText(start + huge + data), ErrorCode::kInvalidArgument);
}

// A progressive grey image of 8 x 8 pixels, all coefficients 0, sent in one scan per coefficient
// and bit: 1 + 63 * bits scans. Every scan is the one code of its Huffman table, padded with ones.
std::string ProgressiveJpeg(int bits) {
  const auto scan = [](char first, char last, char bit_before, char bit) {
    return std::string("\xff\xda\0\x08\x01\x01\0", 7) + first + last +
           static_cast<char>(bit_before << 4 | bit) + '\x7f';
  };
  const auto huffman_table = [](char kind) {
    return std::string("\xff\xc4\0\x14", 4) + kind + '\x01' + std::string(16, '\0');
  };
  std::string jpeg("\xff\xd8\xff\xdb\0\x43\0", 7);
  jpeg += std::string(64, '\x01');
  jpeg += std::string("\xff\xc2\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0", 13);
  jpeg += huffman_table('\0') + huffman_table('\x10') + scan(0, 0, 0, 0);
  for (char k = 1; k < 64; ++k) {
    jpeg += scan(k, k, 0, static_cast<char>(bits - 1));
    for (char bit = static_cast<char>(bits - 1); bit > 0; --bit) {
      jpeg += scan(k, k, bit, static_cast<char>(bit - 1));
    }
  }
  return jpeg + "\xff\xd9";
}

TEST(DecodeImage, AProgressiveJpegMayNotRepeatItselfForEver) {
  const auto image = DecodeText(ProgressiveJpeg(4));
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->samples, std::vector<uint8_t>(8 * 8 * 3, 128));
  const auto refused = DecodeText(ProgressiveJpeg(5));
  ASSERT_FALSE(refused);
  ExpectOneLineError(refused, ErrorCode::kInvalidData);
  EXPECT_NE(refused.error().message.find("too many scans"), std::string::npos);
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
