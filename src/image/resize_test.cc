#include "image/resize.h"

#include <gtest/gtest.h>

#include <span>
#include <utility>

#include "base/sha256.h"
#include "image/golden_cases.h"

namespace expertile {
namespace {

TEST(ResizeBicubic, EqualsTorchvisionSampleForSample) {
  const auto cases = ImageGoldens("resize");
  ASSERT_FALSE(cases.empty());
  for (const auto& golden : cases) {
    SCOPED_TRACE(golden.dump());
    const auto resized =
        ResizeBicubic({NoiseImage(golden["from"][0], golden["from"][1], golden["seed"])},
                      golden["to"][0], golden["to"][1]);
    EXPECT_EQ(resized.height, golden["to"][0]);
    EXPECT_EQ(resized.width, golden["to"][1]);
    EXPECT_EQ(Sha256Hex(std::as_bytes(std::span(resized.samples))),
              golden["sha256"].get<std::string>());
  }
}

TEST(ResizeBicubic, KeepsAFlatImageFlat) {
  for (const uint8_t level : {0, 1, 127, 254, 255}) {
    const RgbImage flat{7, 11, std::vector<uint8_t>(7 * 11 * 3, level)};
    for (const int64_t height : {1, 5, 7, 64}) {
      for (const int64_t width : {1, 3, 11, 200}) {
        const RgbImage resized = ResizeBicubic({flat}, height, width);
        EXPECT_EQ(resized.samples, std::vector<uint8_t>(height * width * 3, level));
      }
    }
  }
}

TEST(ResizeBicubic, SameSizeIsTheSameImage) {
  const RgbImage image = NoiseImage(9, 4, 1);
  EXPECT_EQ(ResizeBicubic({image}, 9, 4).samples, image.samples);
}

TEST(ResizeBicubic, TurnsTheSourceUprightFirst) {
  const RgbImage image = NoiseImage(70, 41, 2);
  for (int code = 1; code <= 8; ++code) {
    const StoredImage turned{image, static_cast<ExifOrientation>(code)};
    for (const auto& [height, width] : {std::pair{33, 50}, {41, 70}, {70, 41}, {9, 41}}) {
      EXPECT_EQ(ResizeBicubic(turned, height, width).samples,
                ResizeBicubic({TurnUpright(turned)}, height, width).samples)
          << code;
    }
  }
}

TEST(ResizeBicubic, OnePixelFillsAnything) {
  const RgbImage resized = ResizeBicubic({{1, 1, {10, 20, 30}}}, 2, 2);
  EXPECT_EQ(resized.samples,
            (std::vector<uint8_t>{10, 20, 30, 10, 20, 30, 10, 20, 30, 10, 20, 30}));
}

}  // namespace
}  // namespace expertile
