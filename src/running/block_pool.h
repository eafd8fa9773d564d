// BlockPool: which of a session's blocks of positions are in use, and by how many sequences.
// Not what is in them: that is the target's (targets/target.h).
#pragma once

#include <cstdint>
#include <vector>

namespace expertile {

class BlockPool {
 public:
  explicit BlockPool(int64_t num_blocks) : num_blocks_(num_blocks) {}

  int64_t num_blocks() const { return num_blocks_; }
  int64_t num_free() const { return num_blocks_ - num_used_; }
  // A free block, held once; num_free() > 0.
  int32_t Take() {
    ++num_used_;
    if (released_.empty()) {
      num_holders_.push_back(1);
      return static_cast<int32_t>(num_holders_.size()) - 1;
    }
    const int32_t block = released_.back();
    released_.pop_back();
    num_holders_[block] = 1;
    return block;
  }
  // One more holder, or one fewer: without any it is free again.
  void Hold(int32_t block) { ++num_holders_[block]; }
  void Release(int32_t block) {
    if (--num_holders_[block] > 0) return;
    --num_used_;
    released_.push_back(block);
  }
  int32_t num_holders(int32_t block) const { return num_holders_[block]; }

 private:
  int64_t num_blocks_;
  int64_t num_used_ = 0;
  std::vector<int32_t> num_holders_;  // of the blocks that were ever taken
  std::vector<int32_t> released_;     // taken again before one that never was
};

}  // namespace expertile
