#include "formats/checkpoint_tensors.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"
#include "formats/safetensors_writer.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

class CheckpointTensorsTest : public testing::Test {
 protected:
  // A file of U8 [1,2] tensors, each filled with `fill`.
  void WriteShard(std::string_view file, const std::vector<std::string>& names, char fill) {
    const std::string data(2, fill);
    std::vector<NamedTensor> tensors;
    for (const std::string& name : names) {
      tensors.push_back({name, {DType::kU8, {1, 2}, std::as_bytes(std::span(data))}});
    }
    ASSERT_TRUE(WriteSafetensors(folder_ / file, tensors));
  }

  void WriteText(std::string_view name, std::string_view text) {
    auto file = AtomicFile::Create(folder_ / name);
    ASSERT_TRUE(file && file->Append(text) && file->Commit());
  }

  void WriteIndex(std::string_view weight_map) {
    WriteText("model.safetensors.index.json", fmt::format("{{\"weight_map\": {}}}", weight_map));
  }

  std::string Failure() {
    const auto checkpoint = CheckpointTensors::Open(folder_.path());
    return checkpoint ? "no error" : checkpoint.error().message;
  }

  std::string Path(std::string_view name) { return folder_ / name; }

  TemporaryFolder folder_;
};

char FillOf(const CheckpointTensors& checkpoint, std::string_view name) {
  const TensorView* tensor = checkpoint.Find(name);
  return tensor == nullptr ? '?' : std::to_integer<char>(tensor->bytes[0]);
}

TEST_F(CheckpointTensorsTest, FindsTensorsThroughTheIndex) {
  WriteShard("x-1.safetensors", {"a", "both"}, '1');
  WriteShard("x-2.safetensors", {"b", "both", "unlisted"}, '2');
  WriteShard("model.safetensors", {"a", "b"}, '3');
  WriteIndex(R"({"a": "x-1.safetensors", "b": "x-2.safetensors", "both": "x-2.safetensors"})");
  auto opened = CheckpointTensors::Open(folder_.path());
  ASSERT_TRUE(opened) << opened.error().message;
  const CheckpointTensors checkpoint = *std::move(opened);
  EXPECT_EQ(checkpoint.names(), (std::vector<std::string>{"a", "b", "both"}));
  EXPECT_EQ(checkpoint.files(),
            (std::vector<fs::path>{folder_ / "x-1.safetensors", folder_ / "x-2.safetensors"}));
  EXPECT_EQ(FillOf(checkpoint, "a"), '1');
  EXPECT_EQ(FillOf(checkpoint, "b"), '2');
  EXPECT_EQ(FillOf(checkpoint, "both"), '2');
  EXPECT_EQ(checkpoint.Find("unlisted"), nullptr);
}

TEST_F(CheckpointTensorsTest, WithoutAnIndexReadsModelSafetensors) {
  WriteShard("model.safetensors", {"a"}, '1');
  WriteShard("adapter.safetensors", {"a"}, '2');
  const auto checkpoint = CheckpointTensors::Open(folder_.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(FillOf(*checkpoint, "a"), '1');
}

TEST_F(CheckpointTensorsTest, WithoutEitherReadsTheOnlyFile) {
  EXPECT_EQ(Failure(), Path("").substr(0, Path("").size() - 1) +
                           ": no model.safetensors.index.json, model.safetensors or other "
                           "*.safetensors: the folder is empty");
  WriteShard("other.safetensors", {"a"}, '1');
  WriteText("config.json", "{}");
  const auto checkpoint = CheckpointTensors::Open(folder_.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(FillOf(*checkpoint, "a"), '1');
  WriteShard("another.safetensors", {"a"}, '2');
  EXPECT_NE(Failure().find("2 *.safetensors files and no model.safetensors.index.json"),
            std::string::npos);
}

TEST_F(CheckpointTensorsTest, RequireStatesBothShapes) {
  WriteShard("model.safetensors", {"a"}, '1');
  const auto checkpoint = CheckpointTensors::Open(folder_.path());
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->Require("a", {1, 2})->bytes.size(), 2u);
  EXPECT_EQ(checkpoint->Require("a", {2, 1}).error().message, "a: shape [1,2], expected [2,1]");
  EXPECT_EQ(checkpoint->Require("a", {2}).error().message, "a: shape [1,2], expected [2]");
  const auto missing = checkpoint->Require("b", {1});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().message, folder_.path().string() + ": b: no such tensor");
}

TEST_F(CheckpointTensorsTest, RefusesUnknownDTypesWhereTheyAreNeeded) {
  const std::string header = R"({"w":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})";
  WriteText("x.safetensors",
            static_cast<char>(header.size()) + std::string(7, '\0') + header + "ab");
  WriteShard("y.safetensors", {"a"}, '1');
  for (const char* weight_map :
       {R"({"a": "y.safetensors", "w": "x.safetensors"})", R"({"w": "x.safetensors"})"}) {
    WriteIndex(weight_map);
    const auto checkpoint = CheckpointTensors::Open(folder_.path());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_EQ(checkpoint->Find("w"), nullptr);
    EXPECT_TRUE(checkpoint->Contains("w"));
    EXPECT_EQ(checkpoint->all_names().back(), "w");
    const auto needed = checkpoint->Require("w", {2});
    ASSERT_FALSE(needed);
    EXPECT_EQ(needed.error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(needed.error().message.find("w: dtype F8_E4M3, expected one of F32"), 0u);
  }
}

TEST_F(CheckpointTensorsTest, RefusesAnIndexThatItsShardsContradict) {
  WriteShard("x.safetensors", {"a"}, '1');
  WriteIndex(R"({"a": "x.safetensors", "b": "x.safetensors"})");
  EXPECT_EQ(Failure(), Path("model.safetensors.index.json") + ": b: no such tensor in " +
                           Path("x.safetensors"));
  WriteIndex(R"({"a": "y.safetensors", "b": "x.safetensors", "c": "z.safetensors"})");
  EXPECT_EQ(Failure(), Path("model.safetensors.index.json") +
                           ": 2 of its 3 files are missing: y.safetensors, z.safetensors");
}

TEST_F(CheckpointTensorsTest, RefusesShardNamesThatLeaveTheFolder) {
  WriteShard("x.safetensors", {"a"}, '1');
  for (const std::string name : {"../x.safetensors", "/x.safetensors", "./x.safetensors", "..", "",
                                 "sub/x.safetensors", "..\\\\x", "x\\u0000.safetensors"}) {
    WriteIndex(fmt::format(R"({{"a": "{}"}})", name));
    EXPECT_NE(Failure().find("is not the name of a file in the same folder"), std::string::npos)
        << name << ": " << Failure();
  }
}

TEST_F(CheckpointTensorsTest, RefusesMalformedIndexes) {
  const std::string index = Path("model.safetensors.index.json");
  WriteText("model.safetensors.index.json", "{");
  EXPECT_EQ(Failure().find(index + ": line 1, column 1: malformed JSON"), 0u) << Failure();
  WriteText("model.safetensors.index.json", "{}");
  EXPECT_EQ(Failure(), index + ": weight_map: missing");
  WriteIndex("[]");
  EXPECT_EQ(Failure(), index + ": weight_map: expected an object, got a list of 0");
  WriteIndex(R"({"a": 3})");
  EXPECT_EQ(Failure(), index + ": weight_map.a: expected a string, got 3");
}

TEST_F(CheckpointTensorsTest, RefusesATruncatedShardAtOpen) {
  WriteShard("x.safetensors", {"a"}, '1');
  WriteIndex(R"({"a": "x.safetensors"})");
  ASSERT_EQ(Failure(), "no error");
  fs::resize_file(Path("x.safetensors"), fs::file_size(Path("x.safetensors")) - 1);
  EXPECT_EQ(Failure(), Path("x.safetensors") +
                           ": header: a: data_offsets [0,2] reach beyond the 1 bytes of data in "
                           "the file, which was not written or downloaded whole");
}

TEST(CheckpointTensors, OpensAShardedModelFromTheHubLayout) {
  const auto checkpoint =
      CheckpointTensors::Open(fs::path(EXPERTILE_SOURCE_DIR) / "models" / "tiny-qwen3_moe");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->files().size(), 2u);
  EXPECT_NE(checkpoint->Find("model.embed_tokens.weight"), nullptr);
}

}  // namespace
}  // namespace expertile
