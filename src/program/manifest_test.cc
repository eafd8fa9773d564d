#include "program/manifest.h"

#include <gtest/gtest.h>

#include "base/sha256.h"
#include "program/package_cases.h"
#include "tests/sanitized.h"

namespace expertile {
namespace {

Manifest SmallManifest() {
  Manifest manifest;
  manifest.origin = OriginOf("manifest");
  manifest.assets = {{"config.json", std::string(64, '1'), 2}};
  manifest.sections = {{"embedding", std::string(64, '2'), 10000},
                       {"layers.0", std::string(64, '3'), 8292}};
  manifest.blocks = {{{"embedding", "float32", 2500, 10000}, 0, 0},
                     {{"layers.0.query", "mxfp4", 8000, 4096}, 1, 0},
                     {{"layers.0.key", "mxfp4", 200, 100}, 1, 8192}};
  return manifest;
}

std::string ErrorOf(const std::string& text) {
  const auto manifest = ParseManifest(text, "manifest.json");
  return manifest ? "" : manifest.error().message;
}

TEST(ManifestTest, ReadsWhatItWrites) {
  const std::string text = ManifestText(SmallManifest());
  const Manifest read = ParseManifest(text, "manifest.json").value();
  EXPECT_EQ(ManifestText(read), text);
  EXPECT_EQ(read.blocks[2].block.name, "layers.0.key");
  EXPECT_EQ(read.blocks[2].offset, 8192);
  EXPECT_EQ(read.origin.specializations[1].name, "Decode");
  EXPECT_EQ(read.origin.options["what"], "manifest");
}

TEST(ManifestTest, EveryFlippedBitIsFoundAndTheFileNamed) {
  const std::string text = ManifestText(SmallManifest());
  for (size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; bit += kIsSanitized ? 5 : 1) {
      std::string flipped = text;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      const std::string error = ErrorOf(flipped);
      ASSERT_NE(error.find("manifest.json"), std::string::npos) << "byte " << i << " bit " << bit;
      ASSERT_EQ(error.find('\n'), std::string::npos);
    }
  }
}

TEST(ManifestTest, EveryTruncationIsFound) {
  const std::string text = ManifestText(SmallManifest());
  for (size_t size = 0; size < text.size(); ++size) {
    ASSERT_NE(ErrorOf(text.substr(0, size)), "") << size;
  }
  EXPECT_NE(ErrorOf(text + " "), "");
}

TEST(ManifestTest, RefusesANewerVersionWithTheReason) {
  std::string text = ManifestText(SmallManifest());
  const std::string field = "\"format_version\": 1";
  text.replace(text.find(field), field.size(), "\"format_version\": 7");
  EXPECT_EQ(ErrorOf(text), "manifest.json: format_version: 7, this build reads 1");
}

TEST(ManifestTest, RefusesBlocksThatLieNowhere) {
  const auto with = [](int64_t section, int64_t offset, int64_t num_bytes, const char* name) {
    Manifest manifest = SmallManifest();
    manifest.blocks[2] = {{name, "mxfp4", 1, num_bytes}, section, offset};
    return ErrorOf(ManifestText(manifest));
  };
  EXPECT_EQ(with(1, 8192, 100, "layers.0.key"), "");
  EXPECT_NE(with(2, 0, 100, "k"), "");
  EXPECT_NE(with(1, 8192, 101, "k"), "");
  EXPECT_NE(with(1, 4097, 100, "k"), "");
  EXPECT_NE(with(1, int64_t{1} << 40, 100, "k"), "");
  EXPECT_NE(with(0, 4096, 100, "k"), "") << "inside of another block";
  EXPECT_NE(with(1, 0, 0, "k"), "") << "at the place of another block";
  EXPECT_NE(with(1, 8192, 100, "embedding"), "") << "the same name twice";
}

TEST(FingerprintTest, DependsOnFieldsAndNotOnTheirOrder) {
  const auto of = [](const char* text) { return FingerprintOf(nlohmann::json::parse(text)); };
  EXPECT_EQ(of(R"({"a":1,"b":2})"), of(R"({"b":2,"a":1})"));
  EXPECT_NE(of(R"({"a":1,"b":2})"), of(R"({"a":1,"b":3})"));
  EXPECT_NE(of(R"({"a":"1"})"), of(R"({"a":1})"));
  EXPECT_NE(of(R"({"a":null})"), of("{}"));
  EXPECT_NE(of(R"({"a":"b\",\"c\":\"d"})"), of(R"({"a":"b","c":"d"})"));
}

}  // namespace
}  // namespace expertile
