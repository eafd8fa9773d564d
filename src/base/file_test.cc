#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

namespace expertile {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(FileTest, CommittedFileHoldsWhatWasAppended) {
  auto file = AtomicFile::Create(folder_ / "a");
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->Append("one "));
  ASSERT_TRUE(file->Append("two"));
  EXPECT_FALSE(fs::exists(folder_ / "a"));
  ASSERT_TRUE(file->Commit());
  EXPECT_EQ(ReadTextFile(folder_ / "a").value(), "one two");
}

TEST_F(FileTest, UncommittedFileLeavesNothing) {
  {
    auto file = AtomicFile::Create(folder_ / "a");
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->Append("half"));
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(FileTest, EmptyFileMapsToNoBytes) {
  auto file = AtomicFile::Create(folder_ / "a");
  ASSERT_TRUE(file && file->Commit());
  EXPECT_TRUE(MappedFile::Open(folder_ / "a").value().bytes().empty());
}

TEST_F(FileTest, MissingFileIsNamed) {
  const auto file = MappedFile::Open(folder_ / "nowhere");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kNotFound);
  EXPECT_NE(file.error().message.find("nowhere"), std::string::npos);
  EXPECT_FALSE(MappedFile::Open(folder_));  // a folder
  EXPECT_FALSE(AtomicFile::Create(folder_ / "no" / "such" / "folder"));
}

TEST_F(FileTest, AtomicFileReplacesRegularFilesOnly) {
  const auto pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto refused = AtomicFile::Create(pipe);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("not a regular file"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

}  // namespace
}  // namespace expertile
