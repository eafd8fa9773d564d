// Keys and values of one layer on the CPU target, in blocks of positions: the panels that its tile
// kernels read, in the cache's own number format. Not a policy: which blocks a sequence has, and
// when it starts anew, is running/'s business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "expertile/result.h"
#include "formats/kv_codec.h"
#include "formats/mx_block.h"
#include "model/step.h"

namespace expertile::cpu {

struct KvShape {
  int64_t num_blocks = 0;
  int num_kv_heads = 0;
  int64_t head_dim = 0;   // D, even
  int panel_columns = 0;  // NR: positions of a strip, columns of a panel; divides kKvBlockSize
  KvFormat format = KvFormat::kFloat32;
};

// Per block and head the keys of its positions, in strips of NR, and their values. Scores against a
// strip are one tile kernel over its keys, a panel of D k-values; weighted sums are one over each
// of the ceil(D/NR) panels of values, whose k-values are the positions. A panel of n k-values is
//   float32: [n][NR] floats;  bfloat16: [n/2][NR][2], pairs of k-values side by side;
//   MXINT8: [n][NR] codes, whose scales lie apart.
// Strip s of a sequence has its positions s NR to s NR + NR - 1.
class KvCache {
 public:
  static Result<KvCache> Create(const KvShape& shape);  // error: out of memory

  const KvShape& shape() const { return shape_; }
  int64_t num_value_panels() const {
    return (shape_.head_dim + shape_.panel_columns - 1) / shape_.panel_columns;
  }

  // Stores one position's key and value, each [D]. The first position of a block clears the values
  // after it, which a masked product still reads. Not of one (block, head) by two threads at once.
  void Write(BlockTable blocks, int head, int64_t position, std::span<const float> key,
             std::span<const float> value);
  void Read(BlockTable blocks, int head, int64_t position, std::span<float> key,
            std::span<float> value) const;
  void CopyBlock(int32_t from, int32_t to);

  // Bytes of a k-value of a panel.
  int64_t depth_bytes() const { return shape_.panel_columns * element_bytes_; }
  // D k-values; in MXINT8 with scales [ceil(D/32)][NR].
  const std::byte* KeyPanel(BlockTable blocks, int head, int64_t strip) const;
  const std::byte* KeyScales(BlockTable blocks, int head, int64_t strip) const;
  // Columns [panel NR, panel NR + NR) of the values at the positions of the sequence's block number
  // `block`, kKvBlockSize k-values; in MXINT8 with a scale for each of them.
  const std::byte* ValuePanel(BlockTable blocks, int head, int64_t block, int64_t panel) const;
  const std::byte* ValueScales(BlockTable blocks, int head, int64_t block, int64_t panel) const;
  // Whether a value of the sequence's block may be NaN or infinite: a product that masks it by a
  // factor of 0 is then no zero. Told by Write(), until it starts the block anew.
  bool HasNonFiniteValues(BlockTable blocks, int head, int64_t block) const {
    return non_finite_values_[TileOf(blocks[block], head)] != 0;
  }

 private:
  explicit KvCache(const KvShape& shape);
  bool Allocate();
  // Write() and Read() in a format whose elements are of this type.
  template <typename Element>
  void WriteElements(BlockTable blocks, int head, int64_t position, std::span<const float> key,
                     std::span<const float> value);
  template <typename Element>
  void ReadElements(BlockTable blocks, int head, int64_t position, std::span<float> key,
                    std::span<float> value) const;
  void ClearValues(int64_t tile);
  bool IsFiniteAsHeld(std::span<const float> value) const;

  int64_t strips_per_block() const { return kKvBlockSize / shape_.panel_columns; }
  int64_t num_scales() const { return (shape_.head_dim + kMxBlockSize - 1) / kMxBlockSize; }
  int64_t key_panel_bytes() const { return shape_.head_dim * depth_bytes(); }
  int64_t value_panel_bytes() const { return kKvBlockSize * depth_bytes(); }
  // A head's part of a block is a tile: its number among all.
  int64_t TileOf(int32_t block, int head) const {
    return int64_t{block} * shape_.num_kv_heads + head;
  }

  KvShape shape_;
  int64_t element_bytes_;
  int64_t key_tile_bytes_;
  int64_t value_tile_bytes_;
  int64_t scale_tile_bytes_;                // of keys, and of values; 0 but in MXINT8
  AlignedBuffer<std::byte> keys_;           // by tile: [kKvBlockSize/NR] panels
  AlignedBuffer<std::byte> values_;         // by tile: [ceil(D/NR)] panels
  AlignedBuffer<std::byte> key_scales_;     // by tile: [kKvBlockSize/NR][ceil(D/32)][NR]
  AlignedBuffer<std::byte> value_scales_;   // by tile: [ceil(D/32)][kKvBlockSize]
  std::vector<uint8_t> non_finite_values_;  // by tile
};

}  // namespace expertile::cpu
