#include "base/page_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "tests/sanitized.h"

namespace expertile {
namespace {

constexpr int64_t kMebibyte = int64_t{1} << 20;

int64_t ResidentBytes() {
  int64_t total = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// Allocates and writes the blocks, and says how much memory that took.
int64_t ResidentBytesOf(int num_blocks, int64_t num_bytes) {
  std::vector<PageMemory> blocks;
  const int64_t before = ResidentBytes();
  for (int i = 0; i < num_blocks; ++i) {
    blocks.push_back(PageMemory::Allocate(num_bytes).value());
    std::memset(blocks.back().data(), 1, static_cast<size_t>(num_bytes));
  }
  return ResidentBytes() - before;
}

TEST(PageMemory, IsZeroedAndWritableToItsEnd) {
  for (const int64_t num_bytes : {int64_t{0}, int64_t{1}, int64_t{4097}, 2 * kMebibyte - 1,
                                  2 * kMebibyte, 5 * kMebibyte + 3}) {
    PageMemory memory = PageMemory::Allocate(num_bytes).value();
    std::byte* data = memory.data();
    for (int64_t i = 0; i < num_bytes; ++i) ASSERT_EQ(data[i], std::byte{0}) << i;
    std::memset(data, 1, static_cast<size_t>(num_bytes));
    const PageMemory moved = std::move(memory);
    EXPECT_EQ(moved.data(), data);
  }
  EXPECT_FALSE(PageMemory::Allocate(int64_t{1} << 60));
}

TEST(PageMemory, TakesLittleMoreThanWasAskedFor) {
  if (kIsSanitized) GTEST_SKIP() << "a sanitizer has memory of its own";
  // A checkpoint has hundreds of norms and biases: none of them is worth a huge page.
  EXPECT_LE(ResidentBytesOf(100, 300), kMebibyte);
  EXPECT_LE(ResidentBytesOf(8, 3 * kMebibyte), 25 * kMebibyte);
}

TEST(PageMemory, LargeBlocksBeginAHugePage) {
  const PageMemory memory = PageMemory::Allocate(3 * kMebibyte).value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data()) % (2 * kMebibyte), 0u);
}

}  // namespace
}  // namespace expertile
