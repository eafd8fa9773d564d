#include "base/processor_quota.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "base/temporary_folder.h"

namespace expertile {
namespace {

// A made-up root folder with the files of proc and sys that matter.
class ProcessorQuotaTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::optional<double> Quota() const { return ProcessorQuota(folder_.path()); }

  TemporaryFolder folder_;
};

constexpr char kVersion2[] =
    "22 1 0:20 / /proc rw - proc proc rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

TEST_F(ProcessorQuotaTest, NoneWithoutFiles) { EXPECT_EQ(Quota(), std::nullopt); }

TEST_F(ProcessorQuotaTest, OfTheGroupAndThoseAroundIt) {
  Write("proc/self/mountinfo", kVersion2);
  Write("proc/self/cgroup", "0::/pods/one/main\n");
  Write("sys/fs/cgroup/pods/one/main/cpu.max", "max 100000\n");
  EXPECT_EQ(Quota(), std::nullopt);
  Write("sys/fs/cgroup/pods/one/cpu.max", "250000 100000\n");
  EXPECT_EQ(Quota(), 2.5);
  Write("sys/fs/cgroup/pods/cpu.max", "800000 100000\n");
  EXPECT_EQ(Quota(), 2.5);
  Write("sys/fs/cgroup/pods/one/main/cpu.max", "50000 100000\n");
  EXPECT_EQ(Quota(), 0.5);
}

TEST_F(ProcessorQuotaTest, InANamespaceOfItsOwn) {
  Write("proc/self/mountinfo", kVersion2);
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_EQ(Quota(), 3.0);
}

TEST_F(ProcessorQuotaTest, WhereTheContainersGroupIsMounted) {
  Write("proc/self/mountinfo",
        "30 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
        "31 22 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
  Write("proc/self/cgroup", "4:cpuset:/docker/abc\n3:cpuacct,cpu:/docker/abc\n0::/docker/abc\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(Quota(), std::nullopt);
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(Quota(), 4.0);
  Write("sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_EQ(Quota(), 1.0);
}

TEST_F(ProcessorQuotaTest, NotOfWhatIsNoQuota) {
  Write("proc/self/mountinfo", std::string("\n - \n1 2 - cgroup2\n") + kVersion2);
  Write("proc/self/cgroup", "x\n0:\n0::/../../outside\n0::/a\n");
  for (const char* text : {"", "max", "-5 100000", "5 0", "nan 5", "many words", "1"}) {
    Write("sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(Quota(), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace expertile
