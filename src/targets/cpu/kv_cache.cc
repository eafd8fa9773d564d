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
  const int64_t value_strip_size = cache.value_strip_size();  // the larger of the two kinds
  if (!CheckedByteSize(DType::kF32, std::array{shape.num_blocks, int64_t{shape.num_kv_heads},
                                               cache.strips_per_block(), value_strip_size})) {
    return InvalidArgument("KV cache: {} blocks of {} positions are too many", shape.num_blocks,
                           kKvBlockSize);
  }
  if (cache.Allocate()) return cache;
  return Fail(ErrorCode::kOutOfMemory, "KV cache: no memory for {} blocks of {} positions",
              shape.num_blocks, kKvBlockSize);
}

bool KvCache::Allocate() {
  non_finite_values_.assign(num_strips(), 0);
  if (is_encoded()) return AllocateRows(encoded_keys_) && AllocateRows(encoded_values_);
  return keys_.Reserve(num_strips() * key_strip_size()) &&
         values_.Reserve(num_strips() * value_strip_size());
}

bool KvCache::AllocateRows(Rows& rows) const {
  const int64_t num_rows = num_strips() * shape_.panel_columns;
  return rows.elements.Reserve(num_rows * codec_.row_bytes()) &&
         rows.scales.Reserve(num_rows * codec_.row_scales());
}

void KvCache::Write(BlockTable blocks, int head, int64_t position, std::span<const float> key,
                    std::span<const float> value) {
  const int columns = shape_.panel_columns;
  const int64_t strip = StripIndex(blocks, head, position / columns);
  const int64_t column = position % columns;
  uint8_t& non_finite = non_finite_values_[strip];
  if (column == 0) non_finite = 0;
  if (!IsFiniteAsHeld(value)) non_finite = 1;
  if (is_encoded()) {
    Rows& keys = encoded_keys_;
    Rows& values = encoded_values_;
    const int64_t row = strip * columns + column;
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
  float* keys = keys_.data() + strip * key_strip_size();
  float* values = values_.data() + strip * value_strip_size();
  if (column == 0) std::fill_n(values, value_strip_size(), 0.0f);
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

void KvCache::Read(BlockTable blocks, int head, int64_t position, std::span<float> key,
                   std::span<float> value) const {
  const int64_t columns = shape_.panel_columns;
  const int64_t strip = StripIndex(blocks, head, position / columns);
  const int64_t column = position % columns;
  if (is_encoded()) {
    const int64_t row = strip * columns + column;
    codec_.Decode(encoded_keys_.element_bytes(), encoded_keys_.scale_bytes(), row, key);
    codec_.Decode(encoded_values_.element_bytes(), encoded_values_.scale_bytes(), row, value);
    return;
  }
  const float* keys = keys_.data() + strip * key_strip_size();
  for (size_t d = 0; d < key.size(); ++d) key[d] = keys[d * columns + column];
  const float* values = values_.data() + strip * value_strip_size();
  for (size_t d = 0; d < value.size(); ++d) {
    const auto panel = static_cast<int64_t>(d) / columns;
    value[d] = values[(panel * columns + column) * columns + static_cast<int64_t>(d) % columns];
  }
}

void KvCache::CopyBlock(int32_t from, int32_t to) {
  const auto copy = [&](auto& buffer) {
    const auto size = static_cast<int64_t>(buffer.size()) / shape_.num_blocks;
    std::copy_n(buffer.data() + from * size, size, buffer.data() + to * size);
  };
  copy(keys_);
  copy(values_);
  copy(non_finite_values_);
  for (Rows* rows : {&encoded_keys_, &encoded_values_}) {
    copy(rows->elements);
    copy(rows->scales);
  }
}

const float* KvCache::KeyPanel(BlockTable blocks, int head, int64_t strip, float* scratch) const {
  const int64_t index = StripIndex(blocks, head, strip);
  if (!is_encoded()) return keys_.data() + index * key_strip_size();
  const Rows& rows = encoded_keys_;
  const int columns = shape_.panel_columns;
  const std::span<float> row(scratch + value_strip_size(), shape_.head_dim);
  for (int column = 0; column < columns; ++column) {
    codec_.Decode(rows.element_bytes(), rows.scale_bytes(), index * columns + column, row);
    for (int64_t d = 0; d < shape_.head_dim; ++d) scratch[d * columns + column] = row[d];
  }
  return scratch;
}

const float* KvCache::ValuePanels(BlockTable blocks, int head, int64_t strip,
                                  float* scratch) const {
  const int64_t index = StripIndex(blocks, head, strip);
  if (!is_encoded()) return values_.data() + index * value_strip_size();
  const Rows& rows = encoded_values_;
  const int64_t columns = shape_.panel_columns;
  std::fill_n(scratch, value_strip_size(), 0.0f);
  const std::span<float> row(scratch + value_strip_size(), shape_.head_dim);
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
