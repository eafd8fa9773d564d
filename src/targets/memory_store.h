// MemoryStore: packed weights in this process's memory, for a program that is not kept on disk.
// Not a package (program/).
#pragma once

#include <memory>
#include <string>

#include "base/page_memory.h"
#include "targets/block_map.h"
#include "targets/weight_store.h"

namespace expertile {

class MemoryStore : public WeightStore {
 public:
  Status BeginGroup(std::string_view) override { return {}; }
  Status Begin(const WeightBlock& block) override;
  Result<std::span<std::byte>> Piece(int64_t num_bytes) override;

  bool Has(std::string_view name) const override { return blocks_.Has(name); }
  Result<std::span<const std::byte>> Find(std::string_view name, std::string_view format,
                                          int64_t num_bytes) const override {
    return blocks_.Find(name, format, num_bytes);
  }
  Result<std::string> FormatOf(std::string_view name) const override {
    return blocks_.FormatOf(name);
  }

 private:
  BlockMap<PageMemory> blocks_;
  BlockMap<PageMemory>::Stored* current_ = nullptr;
};

// TargetRow::new_store of targets that compute in this process's memory.
std::shared_ptr<WeightStore> NewMemoryStore();

}  // namespace expertile
