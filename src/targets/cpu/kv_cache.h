// Keys and values of one layer on the CPU target, in blocks of positions: in float32 as the panels
// that its tile kernels read, in compact formats as encoded rows that are decoded to such panels
// when they are read. Not a policy: which blocks a sequence has, and when it starts anew, is
// running/'s business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "expertile/result.h"
#include "formats/kv_codec.h"
#include "model/step.h"

namespace expertile::cpu {

struct KvShape {
  int64_t num_blocks = 0;
  int num_kv_heads = 0;
  int64_t head_dim = 0;   // D, even
  int panel_columns = 0;  // NR: positions of a strip, columns of a panel; divides kKvBlockSize
  KvFormat format = KvFormat::kFloat32;
};

// A block's positions lie in strips of NR, so that scores against a strip are one tile kernel over
// its keys (a panel [D][NR]) and a weighted sum one per panel of its values ([NR][NR], ceil(D/NR)
// of them). Strip s of a sequence has its positions s NR to s NR + NR - 1.
class KvCache {
 public:
  static Result<KvCache> Create(const KvShape& shape);  // error: out of memory

  const KvShape& shape() const { return shape_; }
  int64_t num_value_panels() const {
    return (shape_.head_dim + shape_.panel_columns - 1) / shape_.panel_columns;
  }
  int64_t key_strip_size() const { return shape_.head_dim * shape_.panel_columns; }
  int64_t value_strip_size() const {
    return num_value_panels() * shape_.panel_columns * shape_.panel_columns;
  }
  // Floats that KeyPanel() and ValuePanels() need to decode into; 0 in float32.
  int64_t scratch_size() const { return is_encoded() ? value_strip_size() + shape_.head_dim : 0; }

  // Stores one position's key and value, each [D]. The first position of a strip clears the values
  // after it, which a masked product still reads.
  void Write(BlockTable blocks, int head, int64_t position, std::span<const float> key,
             std::span<const float> value);
  void Read(BlockTable blocks, int head, int64_t position, std::span<float> key,
            std::span<float> value) const;
  void CopyBlock(int32_t from, int32_t to);

  // [D][NR], and [ceil(D/NR)][NR][NR]; in `scratch` unless the cache has it.
  const float* KeyPanel(BlockTable blocks, int head, int64_t strip, float* scratch) const;
  const float* ValuePanels(BlockTable blocks, int head, int64_t strip, float* scratch) const;
  // Whether a value of the strip may be NaN or infinite: a product that masks it by a factor of 0
  // is then no zero. Told by Write(), until it starts the strip anew.
  bool HasNonFiniteValues(BlockTable blocks, int head, int64_t strip) const {
    return non_finite_values_[StripIndex(blocks, head, strip)] != 0;
  }

 private:
  // Encoded keys or values: rows [blocks, kv_heads, kKvBlockSize].
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
  bool Allocate();
  bool AllocateRows(Rows& rows) const;
  int64_t strips_per_block() const { return kKvBlockSize / shape_.panel_columns; }
  int64_t num_strips() const {
    return shape_.num_blocks * shape_.num_kv_heads * strips_per_block();
  }
  // Where a sequence's strip lies among all strips.
  int64_t StripIndex(BlockTable blocks, int head, int64_t strip) const {
    const int64_t block = blocks[strip / strips_per_block()];
    return (block * shape_.num_kv_heads + head) * strips_per_block() + strip % strips_per_block();
  }

  KvShape shape_;
  KvCodec codec_;
  AlignedBuffer<float> keys_;               // in float32
  AlignedBuffer<float> values_;             // in float32
  Rows encoded_keys_;                       // in compact formats
  Rows encoded_values_;                     // in compact formats
  std::vector<uint8_t> non_finite_values_;  // by strip
};

}  // namespace expertile::cpu
