// The CPU target's key-value cache, addressed by (sequence, position): in float32 as the panels
// that its tile kernels read, in compact formats as encoded rows that are decoded to such panels
// when they are read. Not a policy: who owns which sequence, and when it starts anew, is the
// runtime's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "expertile/result.h"
#include "formats/kv_codec.h"

namespace expertile::cpu {

struct KvShape {
  int num_layers = 0;
  int64_t num_sequences = 0;  // B
  int num_kv_heads = 0;
  int64_t ctx_len = 0;
  int64_t head_dim = 0;   // D, even
  int block_columns = 0;  // NR: keys of a block, columns of a value panel
  KvFormat format = KvFormat::kFloat32;
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
  int64_t key_block_size() const { return shape_.head_dim * shape_.block_columns; }
  int64_t value_block_size() const {
    return num_value_panels() * shape_.block_columns * shape_.block_columns;
  }
  // Floats that KeyBlock() and ValueBlock() need to decode into; 0 in float32.
  int64_t scratch_size() const { return is_encoded() ? value_block_size() + shape_.head_dim : 0; }

  // Stores one position's key and value, each [D]. Positions of a sequence are written in ascending
  // order from 0: the first of a block clears the values after it, which a masked product still
  // reads.
  void Write(int layer, int64_t sequence, int head, int64_t position, std::span<const float> key,
             std::span<const float> value);
  void Read(int layer, int64_t sequence, int head, int64_t position, std::span<float> key,
            std::span<float> value) const;

  // [D][NR], and [ceil(D/NR)][NR][NR]; in `scratch` unless the cache has it.
  const float* KeyBlock(int layer, int64_t sequence, int head, int64_t block, float* scratch) const;
  const float* ValueBlock(int layer, int64_t sequence, int head, int64_t block,
                          float* scratch) const;
  // Whether a value of the block may be NaN or infinite: a product that masks it by a factor of 0
  // is then no zero. Told by Write(), until it starts the block anew.
  bool HasNonFiniteValues(int layer, int64_t sequence, int head, int64_t block) const {
    return non_finite_values_[layer][BlockIndex(sequence, head, block)] != 0;
  }

 private:
  // A layer's encoded keys or values: rows [B, kv_heads, blocks, NR].
  struct Rows {
    AlignedBuffer<std::byte> elements;
    AlignedBuffer<std::byte> scales;

    std::span<std::byte> element_bytes() { return {elements.data(), elements.size()}; }
    std::span<std::byte> scale_bytes() { return {scales.data(), scales.size()}; }
    std::span<const std::byte> element_bytes() const { return {elements.data(), elements.size()}; }
    std::span<const std::byte> scale_bytes() const { return {scales.data(), scales.size()}; }
  };

  explicit KvCache(const KvShape& shape) : shape_(shape), codec_(shape.format, shape.head_dim) {}
  bool IsFiniteAsHeld(std::span<const float> value) const;
  bool is_encoded() const { return shape_.format != KvFormat::kFloat32; }
  bool AllocateLayer();
  bool AllocateRows(std::vector<Rows>& planes);
  int64_t num_blocks() const {
    return (shape_.ctx_len + shape_.block_columns - 1) / shape_.block_columns;
  }
  int64_t num_all_blocks() const {
    return shape_.num_sequences * shape_.num_kv_heads * num_blocks();
  }
  int64_t BlockIndex(int64_t sequence, int head, int64_t block) const {
    return (sequence * shape_.num_kv_heads + head) * num_blocks() + block;
  }

  KvShape shape_;
  KvCodec codec_;
  std::vector<AlignedBuffer<float>> keys_;               // by layer; in float32
  std::vector<AlignedBuffer<float>> values_;             // by layer; in float32
  std::vector<Rows> encoded_keys_;                       // by layer; in compact formats
  std::vector<Rows> encoded_values_;                     // by layer; in compact formats
  std::vector<std::vector<uint8_t>> non_finite_values_;  // by layer, [B, kv_heads, blocks]
};

}  // namespace expertile::cpu
