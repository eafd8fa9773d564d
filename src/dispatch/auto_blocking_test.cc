// What auto stands for: a blocking of every shape. Whether it is a quick one is measured:
// `expertile bench moe --sweep`.
#include "dispatch/auto_blocking.h"

#include <gtest/gtest.h>

namespace expertile {
namespace {

TEST(AutoBlocking, IsABlockingOfTheLayer) {
  for (const int num_experts : {1, 3, 32, 128, 1000}) {
    for (const int num_workers : {1, 2, 16, 96, 1024, 65536}) {
      const AutoBlocking chosen = ChooseBlocking(num_experts, num_workers);
      EXPECT_GE(chosen.num_nsp, 1);
      EXPECT_LE(chosen.num_nsp, num_experts);
      EXPECT_GE(chosen.packed_chunk_size, 1);
    }
  }
}

TEST(AutoBlocking, HasAnNspForEachWorker) {
  for (const int num_workers : {1, 2, 16, 128}) {
    EXPECT_EQ(ChooseBlocking(128, num_workers).num_nsp, num_workers);
  }
  EXPECT_EQ(ChooseBlocking(128, 129).num_nsp, 128);
  EXPECT_EQ(ChooseBlocking(32, 96).num_nsp, 32);
}

}  // namespace
}  // namespace expertile
