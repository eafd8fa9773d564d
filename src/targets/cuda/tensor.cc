#include "targets/cuda/tensor.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace expertile::cuda {
namespace {

constexpr int64_t kAlignment = 1024;
constexpr int64_t kMinSlabBytes = int64_t{16} << 20;

}  // namespace

Status BufferPool::Reserve(int64_t num_bytes, const std::string& what) {
  Slab slab;
  EXPERTILE_ASSIGN(slab.memory, DeviceMemory::Allocate(num_bytes, what));
  slabs_.push_back(std::move(slab));
  return {};
}

std::byte* BufferPool::TakeFrom(Slab& slab, int64_t num_bytes) {
  int64_t begin = 0;
  for (const auto& [offset, end] : slab.taken) {
    if (offset - begin >= num_bytes) break;
    begin = end;
  }
  if (slab.memory.size() - begin < num_bytes) return nullptr;
  slab.taken[begin] = begin + num_bytes;
  return slab.memory.data() + begin;
}

Result<std::byte*> BufferPool::Take(int64_t num_bytes) {
  const int64_t size = RoundUp(std::max<int64_t>(num_bytes, 1), kAlignment);
  for (Slab& slab : slabs_) {
    if (std::byte* data = TakeFrom(slab, size)) return data;
  }
  EXPERTILE_RETURN_IF_ERROR(Reserve(std::max(size, kMinSlabBytes), "activations"));
  return TakeFrom(slabs_.back(), size);
}

void BufferPool::Give(std::byte* data) {
  for (Slab& slab : slabs_) {
    const int64_t offset = data - slab.memory.data();
    if (offset < 0 || offset >= slab.memory.size()) continue;
    slab.taken.erase(offset);
    return;
  }
}

}  // namespace expertile::cuda
