// BlockMap: the blocks of a program that a store holds in one kind of memory, by name.
// Not how their bytes get there: that is the store's.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "targets/weight_store.h"

namespace expertile {

// `Memory` owns a block's bytes and gives their address by data().
template <typename Memory>
class BlockMap {
 public:
  struct Stored {
    WeightBlock block;
    Memory memory;
    int64_t written = 0;
  };

  // A block with a new name; where it is stays the same.
  Stored* Add(const WeightBlock& block, Memory memory) {
    const auto [position, is_new] =
        blocks_.emplace(block.name, Stored{block, std::move(memory), 0});
    EXPERTILE_DCHECK(is_new);
    return &position->second;
  }

  bool Has(std::string_view name) const { return blocks_.contains(name); }

  // As WeightReader::Find and WeightReader::FormatOf.
  Result<std::span<const std::byte>> Find(std::string_view name, std::string_view format,
                                          int64_t num_bytes) const {
    const auto found = blocks_.find(name);
    if (found == blocks_.end()) return NotFound("{}: no such weights", name);
    const WeightBlock& block = found->second.block;
    if (block.format != format || block.num_bytes != num_bytes) {
      return InvalidData("{}: {} bytes of {}, expected {} of {}", name, block.num_bytes,
                         block.format, num_bytes, format);
    }
    return std::span<const std::byte>(found->second.memory.data(), static_cast<size_t>(num_bytes));
  }
  Result<std::string> FormatOf(std::string_view name) const {
    const auto found = blocks_.find(name);
    if (found == blocks_.end()) return NotFound("{}: no such weights", name);
    return found->second.block.format;
  }

 private:
  std::map<std::string, Stored, std::less<>> blocks_;
};

}  // namespace expertile
