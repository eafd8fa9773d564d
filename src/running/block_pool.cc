#include "running/block_pool.h"

namespace expertile {

int32_t BlockPool::Take() {
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

void BlockPool::Release(int32_t block) {
  if (--num_holders_[block] > 0) return;
  --num_used_;
  released_.push_back(block);
}

}  // namespace expertile
