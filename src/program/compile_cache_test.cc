// The cache under kills, concurrency and damage.
#include "program/compile_cache.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "base/temporary_folder.h"
#include "program/file_digests.h"
#include "program/package.h"
#include "program/package_cases.h"
#include "tests/sanitized.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

class CompileCacheTest : public testing::Test {
 protected:
  CompileCache Cache() const { return CompileCache::At((folder_ / "cache").string()).value(); }

  // Compiles in this process; true if it had to do the work.
  bool Compile(const std::string& what) const {
    const auto program = Cache().FindOrMake(
        OriginOf(what), {}, [&](PackageWriter& w) { return WriteSmallPackage(w); }, {});
    EXPECT_TRUE(program) << program.error().message;
    EXPECT_TRUE(Package::Open(program->folder)->Verify());
    return !program->was_found;
  }
  // The same in a child, which appends a byte to `log` if it has to do the work.
  pid_t CompileInChild(const std::string& what, const fs::path& log, int pause_us) const {
    const pid_t child = ::fork();
    if (child != 0) return child;
    const auto program = Cache().FindOrMake(OriginOf(what), {},
                                            [&](PackageWriter& writer) {
                                              std::ofstream(log, std::ios::app) << '.';
                                              ::usleep(static_cast<useconds_t>(pause_us));
                                              return WriteSmallPackage(writer);
                                            },
                                            {});
    ::_exit(program ? 0 : 1);
  }
  int NumVisiblePrograms() const {
    int count = 0;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder_ / "cache" / "programs", ignored)) {
      if (entry.path().filename().string().front() != '.') ++count;
    }
    return count;
  }

  TemporaryFolder folder_;
};

TEST_F(CompileCacheTest, MakesOnceAndFindsAgain) {
  EXPECT_TRUE(Compile("a"));
  EXPECT_FALSE(Compile("a"));
  EXPECT_TRUE(Compile("b"));
  EXPECT_FALSE(Compile("a"));
  EXPECT_EQ(NumVisiblePrograms(), 2);
}

TEST_F(CompileCacheTest, MovesAsAWhole) {
  Compile("a");
  fs::rename(folder_ / "cache", folder_ / "moved");
  fs::create_directories(folder_ / "cache");
  fs::remove_all(folder_ / "cache");
  fs::rename(folder_ / "moved", folder_ / "cache");
  EXPECT_FALSE(Compile("a"));
}

TEST_F(CompileCacheTest, AFailureLeavesNothing) {
  const auto failed = Cache().FindOrMake(OriginOf("a"), {},
                                         [](PackageWriter& writer) -> Status {
                                           EXPERTILE_RETURN_IF_ERROR(WriteSmallPackage(writer));
                                           return IoError("no more");
                                         },
                                         {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "no more");
  EXPECT_EQ(NumVisiblePrograms(), 0);
  EXPECT_TRUE(Compile("a"));
}

TEST_F(CompileCacheTest, KilledAtAnyMomentLeavesNothingOrAWholeProgram) {
  // Kills fall into the time of a whole compile on this machine, and a little beyond it.
  const auto start = std::chrono::steady_clock::now();
  ::waitpid(CompileInChild("whole", folder_ / "log", 0), nullptr, 0);
  const std::chrono::duration<double, std::micro> whole = std::chrono::steady_clock::now() - start;
  const auto latest = static_cast<uint32_t>(1.2 * whole.count()) + 1;
  std::mt19937 random(7);
  const int num_kills = kIsSanitized ? 40 : 220;
  for (int i = 0; i < num_kills; ++i) {
    const std::string what = "kill " + std::to_string(i);
    const pid_t child = CompileInChild(what, folder_ / "log", 0);
    ::usleep(random() % latest);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    const int before = NumVisiblePrograms();
    Compile(what);  // verifies it, whether it was there or not
    EXPECT_EQ(NumVisiblePrograms(), i + 2);
    EXPECT_GE(before, i + 1);
  }
  for (const auto& entry : fs::directory_iterator(folder_ / "cache" / "programs")) {
    const std::string name = entry.path().filename();
    EXPECT_TRUE(name.front() != '.' || name.ends_with(".lock")) << name << " was left behind";
  }
}

TEST_F(CompileCacheTest, EightProcessesDoTheWorkOnce) {
  for (int round = 0; round < 5; ++round) {
    const auto log = folder_ / ("log" + std::to_string(round));
    const std::string what = "round " + std::to_string(round);
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) children.push_back(CompileInChild(what, log, 20000));
    for (const pid_t child : children) {
      int status = 0;
      ::waitpid(child, &status, 0);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    EXPECT_EQ(ContentOf(log), ".");
    EXPECT_FALSE(Compile(what));
  }
}

TEST_F(CompileCacheTest, WaitingForAnotherProcessCanBeEnded) {
  const auto log = folder_ / "log";
  const pid_t child = CompileInChild("a", log, 60'000'000);
  while (!fs::exists(log)) ::usleep(1000);
  int num_asked = 0;
  const auto ended = Cache().FindOrMake(OriginOf("a"), {}, {}, [&](int64_t, int64_t) -> Status {
    return ++num_asked < 3 ? Status() : Fail(ErrorCode::kCancelled, "enough");
  });
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().message, "enough");
  EXPECT_TRUE(Compile("a"));
}

TEST_F(CompileCacheTest, MakesADamagedProgramAgain) {
  Compile("a");
  const auto program = Cache().FindOrMake(OriginOf("a"), {}, {}, {}).value().folder;
  std::string manifest = ContentOf(program / kManifestName);
  manifest[manifest.size() / 2] ^= 1;
  Overwrite(program / kManifestName, manifest);
  EXPECT_TRUE(Compile("a"));
  EXPECT_FALSE(Compile("a"));
}

TEST_F(CompileCacheTest, ForgetsSectionsThatNoProgramUses) {
  Compile("a");
  fs::remove_all(folder_ / "cache" / "programs");
  const auto other = [](PackageWriter& writer) { return WriteSmallPackage(writer, 123); };
  ASSERT_TRUE(Cache().FindOrMake(OriginOf("b"), {}, other, {}));
  int num_stored = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_ / "cache" / "store")) {
    ++num_stored;
  }
  EXPECT_EQ(num_stored, 3);
}

TEST_F(CompileCacheTest, DigestsFollowContentsAndNotNames) {
  const FileDigests digests(folder_ / "digests");
  const auto write = [&](const char* name, const char* content) {
    std::ofstream(folder_ / name) << content;
    return folder_ / name;
  };
  const auto a = write("a", "first");
  const auto b = write("b", "second");
  const std::string both = digests.DigestOf({a, b}, {}).value();
  EXPECT_EQ(digests.DigestOf({b, a}, {}).value(), both);
  EXPECT_EQ(digests.DigestOf({write("c", "second"), write("d", "first")}, {}).value(), both);
  EXPECT_NE(digests.DigestOf({a}, {}).value(), both);
  write("b", "Second");  // the same size
  EXPECT_NE(digests.DigestOf({a, b}, {}).value(), both);
  EXPECT_FALSE(digests.DigestOf({folder_ / "none"}, {}));
}

}  // namespace
}  // namespace expertile
