#include "program/package.h"

#include <gtest/gtest.h>

#include <random>

#include "base/temporary_folder.h"
#include "program/package_cases.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

class PackageTest : public testing::Test {
 protected:
  fs::path Write(const std::string& name, int64_t last = 5000) const {
    PackageWriter writer = PackageWriter::Create(folder_ / "scratch", folder_ / "store").value();
    EXPECT_TRUE(WriteSmallPackage(writer, last));
    EXPECT_TRUE(writer.Finish(OriginOf(name), folder_ / name));
    return folder_ / name;
  }
  static std::vector<fs::path> FilesOf(const fs::path& folder) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }

  TemporaryFolder folder_;
};

TEST_F(PackageTest, HoldsWhatWasWritten) {
  const Package package = Package::Open(Write("one")).value();
  EXPECT_TRUE(package.Verify());
  for (const std::string name : {"layers.0.a", "layers.1.bb", "layers.2.bb"}) {
    const int64_t size = name == "layers.0.a" ? 100 : name == "layers.1.bb" ? 9000 : 5000;
    const auto bytes = package.Find(name, "bytes", size).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % kBlockAlignment, 0u);
    for (int64_t i = 0; i < size; ++i) ASSERT_EQ(bytes[i], ByteOf(name, i)) << name << " " << i;
  }
  EXPECT_EQ(package.Find("layers.3.a", "bytes", 1).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(package.Find("layers.0.a", "bytes", 99).error().code, ErrorCode::kInvalidData);
  EXPECT_EQ(package.Find("layers.0.a", "float32", 100).error().code, ErrorCode::kInvalidData);
  EXPECT_EQ(ContentOf(package.assets_folder() / "config.json"), "{}");
}

TEST_F(PackageTest, SharesEqualSectionsAndKeepsOthersApart) {
  const Package one = Package::Open(Write("one")).value();
  const Package two = Package::Open(Write("two", 6000)).value();
  const auto path = [&](const char* name, size_t section) {
    const auto& manifest = std::string(name) == "one" ? one.manifest() : two.manifest();
    return folder_ / name / "sections" / (manifest.sections[section].sha256 + ".bin");
  };
  EXPECT_TRUE(fs::equivalent(path("one", 0), path("two", 0)));
  EXPECT_TRUE(fs::equivalent(path("one", 1), path("two", 1)));
  EXPECT_NE(one.manifest().sections[2].sha256, two.manifest().sections[2].sha256);
}

TEST_F(PackageTest, DoesNotPassOnADamagedSectionOfTheStore) {
  const auto first = Write("one");
  const Package package = Package::Open(first).value();
  const auto stored = folder_ / "store" / (package.manifest().sections[1].sha256 + ".bin");
  std::string content = ContentOf(stored);
  content[77] ^= 4;
  Overwrite(stored, content);
  EXPECT_FALSE(package.Verify()) << "it is the same file";
  EXPECT_TRUE(Package::Open(Write("two"))->Verify());
}

TEST_F(PackageTest, MovesAsAWhole) {
  const auto folder = Write("one");
  fs::create_directories(folder_ / "elsewhere");
  fs::copy(folder, folder_ / "elsewhere" / "copy", fs::copy_options::recursive);
  fs::remove_all(folder);
  fs::remove_all(folder_ / "store");
  EXPECT_TRUE(Package::Open(folder_ / "elsewhere" / "copy")->Verify());
}

TEST_F(PackageTest, FlippedBitsAreFoundAndTheFileNamed) {
  const auto folder = Write("one");
  std::mt19937 random(1);
  for (const fs::path& file : FilesOf(folder)) {
    const std::string content = ContentOf(file);
    for (int i = 0; i < 40; ++i) {
      std::string flipped = content;
      flipped[random() % flipped.size()] ^= static_cast<char>(1 << random() % 8);
      Overwrite(file, flipped);
      const auto package = Package::Open(folder);
      const Status found = package ? package->Verify() : Status(tl::unexpected(package.error()));
      ASSERT_FALSE(found) << file;
      ASSERT_NE(found.error().message.find(file.filename().string()), std::string::npos)
          << found.error().message;
    }
    Overwrite(file, content);
  }
  EXPECT_TRUE(Package::Open(folder)->Verify());
}

TEST_F(PackageTest, TruncatedOrMissingFilesAreFoundAtOnce) {
  const auto folder = Write("one");
  for (const fs::path& file : FilesOf(folder)) {
    const std::string content = ContentOf(file);
    Overwrite(file, content.substr(0, content.size() - 1));
    ASSERT_NE(Package::Open(folder).error().message.find(file.filename()), std::string::npos);
    fs::remove(file);
    ASSERT_FALSE(Package::Open(folder)) << file;
    Overwrite(file, content);
  }
  EXPECT_TRUE(Package::Open(folder));
}

TEST_F(PackageTest, AnUnfinishedWriterLeavesNothing) {
  {
    PackageWriter writer = PackageWriter::Create(folder_ / "scratch", folder_ / "store").value();
    ASSERT_TRUE(writer.BeginGroup("layers.0"));
    ASSERT_TRUE(WriteBlock(writer, "layers.0.a", 500));
  }
  EXPECT_FALSE(fs::exists(folder_ / "scratch"));
  EXPECT_TRUE(fs::is_empty(folder_ / "store"));
}

TEST_F(PackageTest, AnAssetMayLieInAFolder) {
  PackageWriter writer = PackageWriter::Create(folder_ / "scratch", folder_ / "store").value();
  ASSERT_TRUE(WriteSmallPackage(writer));
  const std::string content = "inside";
  ASSERT_TRUE(writer.AddAsset("folder/file", std::as_bytes(std::span(content))));
  ASSERT_TRUE(writer.Finish(OriginOf("one"), folder_ / "one"));
  const Package package = Package::Open(folder_ / "one").value();
  EXPECT_EQ(ContentOf(package.assets_folder() / "folder" / "file"), content);
}

TEST_F(PackageTest, AnAssetIsNoPath) {
  PackageWriter writer = PackageWriter::Create(folder_ / "scratch", folder_ / "store").value();
  ASSERT_TRUE(WriteSmallPackage(writer));
  ASSERT_TRUE(writer.Finish(OriginOf("one"), folder_ / "one"));
  Manifest manifest = Package::Open(folder_ / "one")->manifest();
  for (const char* name : {"../../outside", "../outside", "a/../outside", "a/b/outside", "/outside",
                           "outside/", "outside/.."}) {
    manifest.assets[0].name = name;
    Overwrite(folder_ / "one" / kManifestName, ManifestText(manifest));
    EXPECT_NE(Package::Open(folder_ / "one").error().message.find("outside"), std::string::npos);
  }
}

}  // namespace
}  // namespace expertile
