#include "base/page_memory.h"

#include <sys/mman.h>

#include "base/error.h"

namespace expertile {
namespace {

constexpr int64_t kHugePage = 2 << 20;

}  // namespace

void PageMemory::Unmap::operator()(std::byte* data) const {
  ::munmap(data, static_cast<size_t>(num_bytes));
}

Result<PageMemory> PageMemory::Allocate(int64_t num_bytes) {
  const int64_t padded = (num_bytes + kHugePage - 1) / kHugePage * kHugePage + kHugePage;
  void* mapped = ::mmap(nullptr, static_cast<size_t>(padded), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return Fail(ErrorCode::kOutOfMemory, "weights: {} bytes cannot be allocated", num_bytes);
  }
  // Advice only: without huge pages the memory is merely slower to walk.
  ::madvise(mapped, static_cast<size_t>(padded), MADV_HUGEPAGE);
  PageMemory memory;
  memory.data_ = std::unique_ptr<std::byte, Unmap>(static_cast<std::byte*>(mapped), Unmap{padded});
  return memory;
}

}  // namespace expertile
