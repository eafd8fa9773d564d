#include "base/processors.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <set>
#include <thread>
#include <vector>

namespace expertile {
namespace {

std::vector<int> ProcessorsOfThisThread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  std::vector<int> processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  }
  return processors;
}

TEST(Processors, AsManyWorkersAsProcessorsHaveOneEach) {
  const std::vector<int> usable = ProcessorsOfThisThread();
  ASSERT_EQ(NumUsableProcessors(), static_cast<int>(usable.size()));
  std::set<int> taken;
  for (int worker = 0; worker < NumUsableProcessors(); ++worker) {
    std::thread([&] {
      BindToProcessor(worker, NumUsableProcessors());
      const std::vector<int> own = ProcessorsOfThisThread();
      if (own == usable && usable.size() > 1) GTEST_SKIP() << "the system binds no threads";
      ASSERT_EQ(own.size(), 1u);
      EXPECT_TRUE(taken.insert(own[0]).second) << own[0];
    }).join();
  }
  EXPECT_EQ(ProcessorsOfThisThread(), usable);
}

TEST(Processors, MoreWorkersThanProcessorsShareThem) {
  const std::vector<int> usable = ProcessorsOfThisThread();
  const std::set<int> allowed(usable.begin(), usable.end());
  const int num_workers = 2 * NumUsableProcessors() + 1;
  for (int worker = 0; worker < num_workers; ++worker) {
    std::thread([&] {
      BindToProcessor(worker, num_workers);
      for (const int processor : ProcessorsOfThisThread()) EXPECT_TRUE(allowed.contains(processor));
    }).join();
  }
}

}  // namespace
}  // namespace expertile
