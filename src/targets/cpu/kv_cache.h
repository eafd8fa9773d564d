// The CPU target's key-value cache, in the panels that its tile kernels read: addressed by
// (sequence, position). Not a policy: who owns which sequence, and when it starts anew, is the
// runtime's business.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "expertile/result.h"

namespace expertile::cpu {

struct KvShape {
  int num_layers = 0;
  int64_t num_sequences = 0;  // B
  int num_kv_heads = 0;
  int64_t ctx_len = 0;
  int64_t head_dim = 0;   // D, even
  int block_columns = 0;  // NR: keys of a block, columns of a value panel
};

// A head's keys and values lie in blocks of NR positions, so that a block of scores is one tile
// kernel over the keys (panel [D][NR]) and a block of weighted sums one per value panel (panel
// [NR][NR], ceil(D/NR) of them).
class KvCache {
 public:
  static Result<KvCache> Create(const KvShape& shape);  // error: out of memory

  const KvShape& shape() const { return shape_; }
  int64_t num_value_panels() const {
    return (shape_.head_dim + shape_.block_columns - 1) / shape_.block_columns;
  }

  // Stores one position's key and value, each [D]. Positions of a sequence are written in ascending
  // order from 0: the first of a block clears the values after it, which a masked product still
  // reads.
  void Write(int layer, int64_t sequence, int head, int64_t position, std::span<const float> key,
             std::span<const float> value);

  void Read(int layer, int64_t sequence, int head, int64_t position, std::span<float> key,
            std::span<float> value) const;

  const float* KeyBlock(int layer, int64_t sequence, int head, int64_t block) const;  // [D][NR]
  const float* ValueBlock(int layer, int64_t sequence, int head,
                          int64_t block) const;  // [ceil(D/NR)][NR][NR]

 private:
  explicit KvCache(const KvShape& shape) : shape_(shape) {}
  int64_t num_blocks() const {
    return (shape_.ctx_len + shape_.block_columns - 1) / shape_.block_columns;
  }
  int64_t key_block_size() const { return shape_.head_dim * shape_.block_columns; }
  int64_t value_block_size() const {
    return num_value_panels() * shape_.block_columns * shape_.block_columns;
  }
  int64_t BlockIndex(int64_t sequence, int head, int64_t block) const {
    return (sequence * shape_.num_kv_heads + head) * num_blocks() + block;
  }

  KvShape shape_;
  std::vector<AlignedBuffer<float>> keys_;    // by layer
  std::vector<AlignedBuffer<float>> values_;  // by layer
};

}  // namespace expertile::cpu
