#include "image/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/sha256.h"
#include "image/golden_cases.h"

namespace expertile {
namespace {

Result<RgbImage> DecodeText(const std::string& text, const ImageLimits& limits = {}) {
  EXPERTILE_ASSIGN(auto stored, DecodeImage(std::as_bytes(std::span(text)), "picture", limits));
  return TurnUpright(std::move(stored));
}

std::string Sha256(const RgbImage& image) {
  return Sha256Hex(std::as_bytes(std::span(image.samples)));
}

std::string Golden(const std::string& name) { return ReadTextFile(ImageGoldenPath(name)).value(); }

// Every file that fails must say so in one line that begins with its name.
void ExpectOneLineError(const Result<RgbImage>& image) {
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().message.rfind("picture: ", 0), 0u) << image.error().message;
  EXPECT_EQ(image.error().message.find('\n'), std::string::npos) << image.error().message;
}

void ExpectOneLineError(const Result<RgbImage>& image, ErrorCode code) {
  ExpectOneLineError(image);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, code) << image.error().message;
}

TEST(DecodeImage, EqualsPillowSampleForSample) {
  const auto cases = ImageGoldens("decode", "decode.json");
  ASSERT_FALSE(cases.empty());
  for (const auto& golden : cases) {
    SCOPED_TRACE(golden["file"].dump());
    const auto image = DecodeText(Golden(golden["file"]));
    if (golden["sha256"].is_null()) {
      ExpectOneLineError(image);
      continue;
    }
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->height, golden["height"]);
    EXPECT_EQ(image->width, golden["width"]);
    EXPECT_EQ(Sha256(*image), golden["sha256"].get<std::string>());
  }
}

// A file that is cut, has a byte changed or rubbish at its end is read, with the same samples,
// where Pillow reads it, and refused where Pillow refuses it.
TEST(DecodeImage, DamageIsTakenAsPillowTakesIt) {
  const auto cases = ImageGoldens("damage", "decode.json");
  ASSERT_FALSE(cases.empty());
  for (const auto& golden : cases) {
    SCOPED_TRACE(golden.dump());
    std::string bytes = Golden(golden["file"]).substr(0, golden["size"]);
    for (const auto& [offset, mask] : golden["flips"].items()) {
      bytes[std::stoul(offset)] ^= static_cast<char>(mask.get<int>());
    }
    bytes += golden["tail"];
    const auto image = DecodeText(bytes);
    if (golden["sha256"].is_null()) {
      ExpectOneLineError(image);
    } else {
      ASSERT_TRUE(image) << image.error().message;
      EXPECT_EQ(Sha256(*image), golden["sha256"].get<std::string>());
    }
  }
}

TEST(DecodeImage, AFlippedByteNeverBreaksMoreThanTheImage) {
  for (const auto& golden : ImageGoldens("decode", "decode.json")) {
    const std::string name = golden["file"];
    SCOPED_TRACE(name);
    const std::string whole = Golden(name);
    for (size_t i = 0; i < whole.size(); i += 3) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
      const auto image = DecodeText(damaged, {.max_pixels = 1 << 20});
      if (image) {
        EXPECT_EQ(image->samples.size(),
                  static_cast<size_t>(image->height * image->width * kRgbChannels));
      } else {
        EXPECT_EQ(image.error().message.find('\n'), std::string::npos);
      }
    }
  }
}

TEST(DecodeImage, SizeLimitsAreCheckedBeforeAnythingIsDecoded) {
  for (const char* name : {"rgb8.png", "progressive.jpg", "lossy.webp", "animated.webp",
                           "greater_frame.gif", "rgb24.bmp", "rle8.bmp"}) {
    SCOPED_TRACE(name);
    const std::string bytes = Golden(name);
    const RgbImage image = DecodeText(bytes).value();
    const int64_t num_pixels = image.height * image.width;
    EXPECT_TRUE(DecodeText(bytes, {.max_pixels = num_pixels}));
    const auto refused = DecodeText(bytes, {.max_pixels = num_pixels - 1});
    ExpectOneLineError(refused, ErrorCode::kInvalidArgument);
    const std::string size = fmt::format("{}x{} = {} pixels, at most {}", image.width, image.height,
                                         num_pixels, num_pixels - 1);
    EXPECT_NE(refused.error().message.find(size), std::string::npos) << refused.error().message;
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

// A grey image of one level: every block is two codes of one bit, 0 and 0.
std::string FlatJpeg(int height, int width) {
  const auto size = [](int side) {
    return std::string{static_cast<char>(side >> 8), static_cast<char>(side)};
  };
  std::string jpeg("\xff\xd8\xff\xdb\0\x43\0", 7);
  jpeg += std::string(64, '\x01');
  jpeg += std::string("\xff\xc0\0\x0b\x08", 5) + size(height) + size(width);
  jpeg += std::string("\x01\x01\x11\0", 4);
  for (const char kind : {'\0', '\x10'}) {
    jpeg += std::string("\xff\xc4\0\x14", 4) + kind + '\x01' + std::string(16, '\0');
  }
  jpeg += std::string("\xff\xda\0\x08\x01\x01\0\0\x3f\0", 10);
  const int num_blocks = (height + 7) / 8 * ((width + 7) / 8);
  return jpeg + std::string((num_blocks * 2 + 7) / 8, '\0') + "\xff\xd9";
}

// A GIF whose only frame is one pixel of index 1 at the top left.
std::string GifOfOnePixel(int height, int width) {
  const auto size = [](int side) {
    return std::string{static_cast<char>(side), static_cast<char>(side >> 8)};
  };
  return "GIF89a" + size(width) + size(height) +
         std::string("\x80\0\0\x01\x02\x03\x04\x05\x06", 9) +
         std::string(",\0\0\0\0\1\0\1\0\0\x02\x02\x4c\x01\0;", 16);
}

TEST(DecodeImage, ReadsUpToPillowsErrorBound) {
  const auto jpeg = DecodeText(FlatJpeg(9000, 12000));
  ASSERT_TRUE(jpeg) << jpeg.error().message;
  EXPECT_EQ(jpeg->width, 12000);
  EXPECT_EQ(jpeg->height, 9000);
  EXPECT_TRUE(std::ranges::all_of(jpeg->samples, [](uint8_t sample) { return sample == 128; }));
  const auto gif = DecodeText(GifOfOnePixel(13377, 13377));  // 178,944,129 pixels
  ASSERT_TRUE(gif) << gif.error().message;
  EXPECT_EQ(gif->samples.front(), 4);
  EXPECT_EQ(gif->samples.back(), 3);
  for (const auto& bytes : {FlatJpeg(20000, 9000), GifOfOnePixel(13377, 13378)}) {
    const auto refused = DecodeText(bytes);
    ExpectOneLineError(refused, ErrorCode::kInvalidArgument);
    EXPECT_NE(refused.error().message.find("at most 178956970 are read"), std::string::npos);
  }
}

TEST(DecodeImage, OtherFilesAreRefusedByWhatTheyAre) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> cases[] = {
      {"", "empty"},
      {"\0\0\0\40ftypavif\0\0\0\0"s, "AVIF"},
      {"\0\0\0\40ftypheic\0\0\0\0"s, "HEIC"},
      {"\0\0\0\40ftypisom\0\0\0\0"s, "video"},
      {"II*\0\x08\0\0\0"s, "TIFF"},
      {"MM\0*\0\0\0\x08"s, "TIFF"},
      {"\0\0\0\x0cjP  \r\n"s, "JPEG 2000"},
      {"\xff\x0a\0\0"s, "JPEG XL"},
      {"\0\0\1\0\1\0"s, "icon"},
      {"%PDF-1.7", "PDF"},
      {"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "SVG"},
      {"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- a -->\n<svg/>", "SVG"},
      {"<!DOCTYPE html>\n<title>404</title>", "web page"},
      {"\n <HTML><body>", "web page"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "git lfs pull"},
      {"GIF88a", "47 49 46 38 38 61"},
      {"RIFF\4\0\0\0WAVE", "52 49 46 46"},
      {"a text", "61 20 74 65 78 74"},
  };
  for (const auto& [bytes, fact] : cases) {
    SCOPED_TRACE(fact);
    const auto refused = DecodeText(bytes);
    ExpectOneLineError(refused, ErrorCode::kUnsupported);
    EXPECT_NE(refused.error().message.find(fact), std::string::npos) << refused.error().message;
  }
  for (const auto& signature :
       {"\x89PNG\r\n\x1a\n"s, "\xff\xd8\xff\xd9"s, "GIF89a"s, "BM"s, "RIFF\4\0\0\0WEBP"s}) {
    ExpectOneLineError(DecodeText(signature), ErrorCode::kInvalidData);
  }
}

TEST(LoadImage, MissingFileIsNamed) {
  const auto image = LoadImage(ImageGoldenPath("nowhere.png"));
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace expertile
