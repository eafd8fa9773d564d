#include "targets/memory_store.h"

#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace expertile {

Status MemoryStore::Begin(const WeightBlock& block) {
  Stored stored{block, {}, 0};
  EXPERTILE_ASSIGN(stored.memory, PageMemory::Allocate(block.num_bytes));
  const auto [position, is_new] = blocks_.emplace(block.name, std::move(stored));
  EXPERTILE_DCHECK(is_new);
  current_ = &position->second;
  return {};
}

Result<std::span<std::byte>> MemoryStore::Piece(int64_t num_bytes) {
  EXPERTILE_DCHECK(current_ != nullptr &&
                   num_bytes <= current_->block.num_bytes - current_->written);
  std::byte* data = current_->memory.data() + current_->written;
  current_->written += num_bytes;
  return std::span(data, static_cast<size_t>(num_bytes));
}

Result<std::span<const std::byte>> MemoryStore::Find(std::string_view name, std::string_view format,
                                                     int64_t num_bytes) const {
  const auto found = blocks_.find(name);
  if (found == blocks_.end()) return NotFound("{}: no such weights", name);
  const WeightBlock& block = found->second.block;
  if (block.format != format || block.num_bytes != num_bytes) {
    return InvalidData("{}: {} bytes of {}, expected {} of {}", name, block.num_bytes, block.format,
                       num_bytes, format);
  }
  return std::span<const std::byte>(found->second.memory.data(), static_cast<size_t>(num_bytes));
}

Result<std::string> MemoryStore::FormatOf(std::string_view name) const {
  const auto found = blocks_.find(name);
  if (found == blocks_.end()) return NotFound("{}: no such weights", name);
  return found->second.block.format;
}

std::shared_ptr<WeightStore> NewMemoryStore() { return std::make_shared<MemoryStore>(); }

}  // namespace expertile
