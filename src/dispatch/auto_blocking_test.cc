// What auto stands for: bounds that hold for every shape.
#include "dispatch/auto_blocking.h"

#include <gtest/gtest.h>

namespace expertile {
namespace {

TEST(AutoBlocking, IsABlockingOfTheLayer) {
  for (const int num_experts : {1, 3, 32, 128, 1000}) {
    for (const int num_workers : {1, 2, 16, 96, 1024}) {
      for (const int64_t num_tokens : {1, 9, 512, 16384}) {
        const AutoBlocking chosen =
            ChooseBlocking({num_experts, 1, 2048, 768, 16.0, num_tokens, num_workers});
        EXPECT_GE(chosen.num_nsp, 1);
        EXPECT_LE(chosen.num_nsp, num_experts);
        EXPECT_GE(chosen.packed_chunk_size, 1);
      }
    }
  }
}

}  // namespace
}  // namespace expertile
