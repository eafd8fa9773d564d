#include "base/model_folder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "base/temporary_folder.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

void Write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

std::string RefusalOf(const fs::path& folder) {
  const Status status = CheckModelFolder(folder, "config.json");
  return status ? "" : status.error().message;
}

TEST(CheckModelFolder, SaysWhatThePathIsInstead) {
  const TemporaryFolder folder;
  EXPECT_NE(RefusalOf("Qwen/Qwen3-30B-A3B").find("Qwen/Qwen3-30B-A3B: no such folder"),
            std::string::npos);
  EXPECT_NE(RefusalOf("Qwen/Qwen3-30B-A3B").find("not downloaded"), std::string::npos);
  EXPECT_NE(RefusalOf("").find("no such folder"), std::string::npos);
  EXPECT_NE(RefusalOf(folder.path()).find("no config.json: the folder is empty"),
            std::string::npos);
  Write(folder / "model.gguf", "GGUF");
  EXPECT_NE(RefusalOf(folder.path()).find("no config.json; it has model.gguf: GGUF is not"),
            std::string::npos);
  EXPECT_NE(
      RefusalOf(folder / "model.gguf").find("model.gguf: a file of GGUF, expected the folder"),
      std::string::npos);
  EXPECT_NE(RefusalOf(folder / "model.gguf" / "deeper").find("deeper"), std::string::npos);
  Write(folder / "config.json", "{}");
  EXPECT_EQ(RefusalOf(folder.path()), "");
}

TEST(WhatElseIsIn, NamesWeightsOfOtherFormats) {
  const TemporaryFolder folder;
  Write(folder / "config.json", "{}");
  EXPECT_EQ(WhatElseIsIn(folder.path()), "");
  Write(folder / "pytorch_model-00001-of-00002.bin", "");
  EXPECT_NE(WhatElseIsIn(folder.path()).find("pytorch_model-00001-of-00002.bin: PyTorch's pickled"),
            std::string::npos);
  EXPECT_NE(WhatElseIsIn(folder.path()).find("safetensors"), std::string::npos);
}

TEST(MappedFile, RefusesGitLfsPointersOnly) {
  const TemporaryFolder folder;
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, 'a') +
      "\nsize 4996\n";
  Write(folder / "w.safetensors", pointer);
  const auto refused = MappedFile::Open(folder / "w.safetensors");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("w.safetensors: a Git LFS pointer"), std::string::npos);
  EXPECT_NE(refused.error().message.find("git lfs pull"), std::string::npos);
  Write(folder / "about.txt", pointer + std::string(1024, ' '));  // too long for a pointer
  EXPECT_TRUE(MappedFile::Open(folder / "about.txt"));
  Write(folder / "about.txt", "a text on " + pointer);
  EXPECT_TRUE(MappedFile::Open(folder / "about.txt"));
}

}  // namespace
}  // namespace expertile
