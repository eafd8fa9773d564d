#include "image/vision_preprocessor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>

#include "base/sha256.h"
#include "formats/safetensors.h"
#include "image/decode.h"
#include "image/golden_cases.h"

namespace expertile {
namespace {

std::string SourcePath(const std::string& path) {
  return std::string(EXPERTILE_SOURCE_DIR "/") + path;
}

// One tensor of the tiny checkpoint's golden file.
template <typename T>
std::vector<T> GoldenTensor(const std::string& name) {
  const auto file =
      SafetensorsFile::Open(SourcePath("tests/goldens/tiny-qwen3_vl_moe.safetensors")).value();
  const auto bytes = file.tensors().at(name).bytes;
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

Result<VisionPreprocessorConfig> ReadConfig(std::string_view text) {
  EXPERTILE_ASSIGN(const JsonObject json, JsonObject::Parse(text, "config.json"));
  return ReadVisionPreprocessorConfig(json, "config.json");
}

VisionPreprocessorConfig TinyConfig() {
  const auto text = ReadTextFile(SourcePath("models/tiny-qwen3_vl_moe/preprocessor_config.json"));
  return ReadConfig(text.value()).value();
}

// Goldens of a large image hold its first rows only.
void ExpectGolden(const std::string& image_path, const std::string& golden) {
  SCOPED_TRACE(golden);
  const auto image = LoadImage(SourcePath(image_path));
  ASSERT_TRUE(image) << image.error().message;
  const auto patches = MakePixelPatches(TinyConfig(), *image);
  ASSERT_TRUE(patches) << patches.error().message;
  const auto grid = GoldenTensor<int32_t>(golden + ".image_grid_thw");
  EXPECT_EQ(patches->grid, (ImageGrid{grid[0], grid[1], grid[2]}));
  EXPECT_EQ(static_cast<int64_t>(patches->values.size()),
            patches->grid.num_patches() * TinyConfig().patch_values());
  const auto values = GoldenTensor<float>(golden + ".pixel_values");
  ASSERT_LE(values.size(), patches->values.size());
  EXPECT_TRUE(std::equal(values.begin(), values.end(), patches->values.begin()));
}

TEST(MakePixelPatches, EqualsTheGoldensOfTheTinyCheckpoint) {
  for (const char* index : {"0", "1", "2", "3"}) {
    ExpectGolden(std::string("models/tiny-qwen3_vl_moe/images/") + index + ".png",
                 std::string("image_") + index);
  }
  ExpectGolden("tests/goldens/tiny-qwen3_vl_moe.resize.png", "resize");
}

TEST(MakePixelPatches, EqualsTransformersBitForBit) {
  const auto cases = ImageGoldens("preprocessor");
  ASSERT_FALSE(cases.empty());
  for (const auto& golden : cases) {
    SCOPED_TRACE(golden.dump());
    const auto config = ReadConfig(golden["config"].dump());
    ASSERT_TRUE(config) << config.error().message;
    const auto patches =
        MakePixelPatches(*config, {NoiseImage(golden["height"], golden["width"], golden["seed"])});
    ASSERT_TRUE(patches) << patches.error().message;
    const auto& grid = golden["image_grid_thw"];
    EXPECT_EQ(patches->grid, (ImageGrid{grid[0], grid[1], grid[2]}));
    EXPECT_EQ(patches->grid.num_patches(), golden["shape"][0]);
    EXPECT_EQ(config->patch_values(), golden["shape"][1]);
    EXPECT_EQ(Sha256Hex(std::as_bytes(std::span(patches->values))),
              golden["sha256"].get<std::string>());
  }
}

TEST(MakePixelPatches, WithoutResizeTheSizeMustFit) {
  VisionPreprocessorConfig config;
  config.do_resize = false;
  EXPECT_TRUE(MakePixelPatches(config, {NoiseImage(28, 56, 1)}));
  const auto patches = MakePixelPatches(config, {NoiseImage(28, 42, 1)});
  ASSERT_FALSE(patches);
  EXPECT_EQ(patches.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(patches.error().message.find("42x28"), std::string::npos);
}

TEST(SmartResize, EqualsTransformers) {
  const auto cases = ImageGoldens("smart_resize");
  ASSERT_FALSE(cases.empty());
  for (const auto& golden : cases) {
    VisionPreprocessorConfig config;
    config.patch_size = golden[0];
    config.min_pixels = golden[1];
    config.max_pixels = golden[2];
    const auto size = SmartResize(config, {golden[3], golden[4]});
    ASSERT_TRUE(size) << size.error().message;
    EXPECT_EQ(*size, (ImageSize{golden[5], golden[6]})) << golden;
  }
}

TEST(SmartResize, RoundsTiesToEven) {
  VisionPreprocessorConfig config;
  config.patch_size = 16;
  config.min_pixels = 1;
  EXPECT_EQ(SmartResize(config, {80, 112}).value(), (ImageSize{64, 128}));  // 2.5 and 3.5 blocks
}

TEST(SmartResize, RefusesAStrip) {
  const VisionPreprocessorConfig config;
  EXPECT_TRUE(SmartResize(config, {10, 2000}));
  const auto size = SmartResize(config, {2001, 10});
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(size.error().message.find("10x2001"), std::string::npos);
}

TEST(SmartResize, RefusesAResultThatMemoryShouldNotHold) {
  VisionPreprocessorConfig config;
  config.min_pixels = int64_t{1} << 40;
  config.max_pixels = int64_t{1} << 40;
  EXPECT_FALSE(SmartResize(config, {100, 100}));
}

VisionPreprocessorConfig Parse(const std::string& json) { return ReadConfig(json).value(); }

TEST(ReadVisionPreprocessorConfig, TakesPixelBoundsInEveryForm) {
  for (const char* json : {
           R"({"size":{"shortest_edge":9,"longest_edge":99}})",
           R"({"size":{"min_pixels":9,"max_pixels":99}})",
           R"({"min_pixels":9,"max_pixels":99})",
           R"({"min_pixels":9,"max_pixels":99,"size":{"shortest_edge":9,"longest_edge":99}})",
           R"({"min_pixels":9,"size":{"longest_edge":99}})",
           R"({"size":{"shortest_edge":9,"max_pixels":99}})",
           R"({"min_pixels":9,"max_pixels":99,"size":null})",
       }) {
    EXPECT_EQ(Parse(json).min_pixels, 9) << json;
    EXPECT_EQ(Parse(json).max_pixels, 99) << json;
  }
  EXPECT_EQ(Parse(R"({"size":null,"patch_size":16})").patch_size, 16);
}

TEST(ReadVisionPreprocessorConfig, RefusesWhatItCannotMean) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "object"},
      {"{", "JSON"},
      {R"({"image_processor_type":"CLIPImageProcessor"})", "CLIPImageProcessor"},
      {R"({"image_processor_type":7})", "image_processor_type: expected"},
      {R"({"resample":2})", "resample: 2"},
      {R"({"min_pixels":9,"size":{"shortest_edge":8,"longest_edge":99}})",
       "size.shortest_edge: 8, but config.json: min_pixels: 9"},
      {R"({"size":{"longest_edge":98,"max_pixels":99,"min_pixels":1}})", "size.longest_edge: 98"},
      {R"({"size":{"shortest_edge":9}})", "size.longest_edge: missing"},
      {R"({"patch_size":0})", "patch_size: 0"},
      {R"({"patch_size":16.5})", "patch_size: expected"},
      {R"({"patch_size":18446744073709551615})", "patch_size: "},
      {R"({"merge_size":-2})", "merge_size: -2"},
      {R"({"temporal_patch_size":"2"})", "temporal_patch_size: expected"},
      {R"({"size":5})", "size: expected"},
      {R"({"size":{"shortest_edge":1,"longest_edge":0}})", "size.longest_edge: 0"},
      {R"({"min_pixels":100,"max_pixels":10})", "100"},
      {R"({"do_resize":1})", "do_resize: expected"},
      {R"({"rescale_factor":0})", "rescale_factor: 0"},
      {R"({"image_mean":[0.5,0.5]})", "image_mean has 2"},
      {R"({"image_mean":null})", "image_mean: null"},
      {R"({"image_mean":[0.5,0.5,"x"]})", "image_mean"},
      {R"({"image_std":[0.5,0,0.5]})", "image_std"},
  };
  for (const auto& [json, fact] : cases) {
    const auto config = ReadConfig(json);
    ASSERT_FALSE(config) << json;
    EXPECT_EQ(config.error().message.rfind("config.json: ", 0), 0u) << config.error().message;
    EXPECT_NE(config.error().message.find(fact), std::string::npos) << config.error().message;
  }
}

}  // namespace
}  // namespace expertile
