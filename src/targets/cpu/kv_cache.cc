#include "targets/cpu/kv_cache.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/tensor.h"

namespace expertile::cpu {

Result<KvCache> KvCache::Create(const KvShape& shape) {
  KvCache cache(shape);
  const int64_t value_block_size = cache.value_block_size();  // the larger of the two kinds
  if (!CheckedByteSize(DType::kF32, std::array{shape.num_sequences, int64_t{shape.num_kv_heads},
                                               cache.num_blocks(), value_block_size})) {
    return InvalidArgument("KV cache: {} sequences of ctx_len {} are too many", shape.num_sequences,
                           shape.ctx_len);
  }
  for (int layer = 0; layer < shape.num_layers; ++layer) {
    if (!cache.AllocateLayer()) {
      return Fail(ErrorCode::kOutOfMemory, "KV cache: no memory for {} sequences of ctx_len {}",
                  shape.num_sequences, shape.ctx_len);
    }
  }
  return cache;
}

bool KvCache::AllocateLayer() {
  non_finite_values_.emplace_back(num_all_blocks(), uint8_t{0});
  if (is_encoded()) return AllocateRows(encoded_keys_) && AllocateRows(encoded_values_);
  keys_.emplace_back(num_all_blocks() * key_block_size());
  values_.emplace_back(num_all_blocks() * value_block_size());
  return keys_.back().size() != 0 && values_.back().size() != 0;
}

bool KvCache::AllocateRows(std::vector<Rows>& planes) {
  const int64_t num_rows = num_all_blocks() * shape_.block_columns;
  Rows& rows = planes.emplace_back();
  return rows.elements.Reserve(num_rows * codec_.row_bytes()) &&
         rows.scales.Reserve(num_rows * codec_.row_scales());
}

void KvCache::Write(int layer, int64_t sequence, int head, int64_t position,
                    std::span<const float> key, std::span<const float> value) {
  const int columns = shape_.block_columns;
  const int64_t block = BlockIndex(sequence, head, position / columns);
  const int64_t column = position % columns;
  uint8_t& non_finite = non_finite_values_[layer][block];
  if (column == 0) non_finite = 0;
  if (!IsFiniteAsHeld(value)) non_finite = 1;
  if (is_encoded()) {
    Rows& keys = encoded_keys_[layer];
    Rows& values = encoded_values_[layer];
    const int64_t row = block * columns + column;
    if (column == 0) {
      std::fill_n(values.elements.data() + row * codec_.row_bytes(), columns * codec_.row_bytes(),
                  std::byte{0});
      std::fill_n(values.scales.data() + row * codec_.row_scales(), columns * codec_.row_scales(),
                  std::byte{0});
    }
    codec_.Encode(key, row, keys.element_bytes(), keys.scale_bytes());
    codec_.Encode(value, row, values.element_bytes(), values.scale_bytes());
    return;
  }
  float* keys = keys_[layer].data() + block * key_block_size();
  float* values = values_[layer].data() + block * value_block_size();
  if (column == 0) std::fill_n(values, value_block_size(), 0.0f);
  for (int64_t d = 0; d < shape_.head_dim; ++d) keys[d * columns + column] = key[d];
  for (int64_t panel = 0; panel < num_value_panels(); ++panel) {
    const auto part = value.subspan(panel * columns,
                                    std::min<int64_t>(columns, shape_.head_dim - panel * columns));
    std::ranges::copy(part, values + (panel * columns + column) * columns);
  }
}

// Rounding to bfloat16 may overflow. MXINT8 gives every finite value a finite one.
bool KvCache::IsFiniteAsHeld(std::span<const float> value) const {
  const bool rounds = shape_.format == KvFormat::kBFloat16;
  return std::ranges::all_of(value, [&](float x) {
    return std::isfinite(rounds ? BFloat16ToFloat(FloatToBFloat16(x)) : x);
  });
}

void KvCache::Read(int layer, int64_t sequence, int head, int64_t position, std::span<float> key,
                   std::span<float> value) const {
  const int64_t columns = shape_.block_columns;
  const int64_t block = BlockIndex(sequence, head, position / columns);
  const int64_t column = position % columns;
  if (is_encoded()) {
    const Rows& keys = encoded_keys_[layer];
    const Rows& values = encoded_values_[layer];
    codec_.Decode(keys.element_bytes(), keys.scale_bytes(), block * columns + column, key);
    codec_.Decode(values.element_bytes(), values.scale_bytes(), block * columns + column, value);
    return;
  }
  const float* keys = keys_[layer].data() + block * key_block_size();
  for (size_t d = 0; d < key.size(); ++d) key[d] = keys[d * columns + column];
  const float* values = values_[layer].data() + block * value_block_size();
  for (size_t d = 0; d < value.size(); ++d) {
    const auto panel = static_cast<int64_t>(d) / columns;
    value[d] = values[(panel * columns + column) * columns + static_cast<int64_t>(d) % columns];
  }
}

const float* KvCache::KeyBlock(int layer, int64_t sequence, int head, int64_t block,
                               float* scratch) const {
  const int64_t index = BlockIndex(sequence, head, block);
  if (!is_encoded()) return keys_[layer].data() + index * key_block_size();
  const Rows& rows = encoded_keys_[layer];
  const int columns = shape_.block_columns;
  const std::span<float> row(scratch + value_block_size(), shape_.head_dim);
  for (int column = 0; column < columns; ++column) {
    codec_.Decode(rows.element_bytes(), rows.scale_bytes(), index * columns + column, row);
    for (int64_t d = 0; d < shape_.head_dim; ++d) scratch[d * columns + column] = row[d];
  }
  return scratch;
}

const float* KvCache::ValueBlock(int layer, int64_t sequence, int head, int64_t block,
                                 float* scratch) const {
  const int64_t index = BlockIndex(sequence, head, block);
  if (!is_encoded()) return values_[layer].data() + index * value_block_size();
  const Rows& rows = encoded_values_[layer];
  const int64_t columns = shape_.block_columns;
  std::fill_n(scratch, value_block_size(), 0.0f);
  const std::span<float> row(scratch + value_block_size(), shape_.head_dim);
  for (int64_t column = 0; column < columns; ++column) {
    codec_.Decode(rows.element_bytes(), rows.scale_bytes(), index * columns + column, row);
    for (int64_t panel = 0; panel < num_value_panels(); ++panel) {
      const int64_t first = panel * columns;
      const int64_t count = std::min(columns, shape_.head_dim - first);
      std::copy_n(row.data() + first, count, scratch + (first + column) * columns);
    }
  }
  return scratch;
}

}  // namespace expertile::cpu
