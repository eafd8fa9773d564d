#include "targets/memory_store.h"

#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace expertile {

Status MemoryStore::Begin(const WeightBlock& block) {
  EXPERTILE_ASSIGN(PageMemory memory, PageMemory::Allocate(block.num_bytes));
  current_ = blocks_.Add(block, std::move(memory));
  return {};
}

Result<std::span<std::byte>> MemoryStore::Piece(int64_t num_bytes) {
  EXPERTILE_DCHECK(current_ != nullptr &&
                   num_bytes <= current_->block.num_bytes - current_->written);
  std::byte* data = current_->memory.data() + current_->written;
  current_->written += num_bytes;
  return std::span(data, static_cast<size_t>(num_bytes));
}

std::shared_ptr<WeightStore> NewMemoryStore() { return std::make_shared<MemoryStore>(); }

}  // namespace expertile
