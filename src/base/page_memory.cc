#include "base/page_memory.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/error.h"

namespace expertile {
namespace {

constexpr int64_t kHugePage = 2 << 20;

int64_t RoundUpToHugePage(int64_t num_bytes) {
  return (num_bytes + kHugePage - 1) / kHugePage * kHugePage;
}

// Huge pages for those that the block fills; a last one in part, or a small block's only one, would
// clear and hold up to 2 MiB for nothing. Advice only: without them the memory is merely slower.
void AdviseHugePages(std::byte* data, int64_t num_bytes) {
  const int64_t filled = num_bytes / kHugePage * kHugePage;
  if (filled > 0) ::madvise(data, static_cast<size_t>(filled), MADV_HUGEPAGE);
}

}  // namespace

void PageMemory::Unmap::operator()(std::byte* mapped) const {
  ::munmap(mapped, static_cast<size_t>(num_bytes));
}

Result<PageMemory> PageMemory::Allocate(int64_t num_bytes) {
  const bool is_small = num_bytes < kHugePage;
  const int64_t padded =
      is_small ? std::max<int64_t>(1, num_bytes) : RoundUpToHugePage(num_bytes) + kHugePage;
  void* mapped = ::mmap(nullptr, static_cast<size_t>(padded), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return Fail(ErrorCode::kOutOfMemory, "weights: {} bytes cannot be allocated", num_bytes);
  }
  PageMemory memory;
  memory.mapped_ =
      std::unique_ptr<std::byte, Unmap>(static_cast<std::byte*>(mapped), Unmap{padded});
  memory.data_ = memory.mapped_.get();
  const auto address = static_cast<int64_t>(reinterpret_cast<intptr_t>(mapped));
  if (!is_small) memory.data_ += RoundUpToHugePage(address) - address;
  AdviseHugePages(memory.data_, num_bytes);
  return memory;
}

}  // namespace expertile
