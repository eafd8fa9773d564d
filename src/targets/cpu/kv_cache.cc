#include "targets/cpu/kv_cache.h"

#include <algorithm>
#include <array>

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
  const int64_t num_blocks = shape.num_sequences * shape.num_kv_heads * cache.num_blocks();
  for (int layer = 0; layer < shape.num_layers; ++layer) {
    cache.keys_.emplace_back(num_blocks * cache.key_block_size());
    cache.values_.emplace_back(num_blocks * cache.value_block_size());
    if (cache.keys_.back().size() == 0 || cache.values_.back().size() == 0) {
      return Fail(ErrorCode::kOutOfMemory, "KV cache: no memory for {} sequences of ctx_len {}",
                  shape.num_sequences, shape.ctx_len);
    }
  }
  return cache;
}

void KvCache::Write(int layer, int64_t sequence, int head, int64_t position,
                    std::span<const float> key, std::span<const float> value) {
  const int columns = shape_.block_columns;
  const int64_t block = BlockIndex(sequence, head, position / columns);
  const int64_t row = position % columns;
  float* keys = keys_[layer].data() + block * key_block_size();
  float* values = values_[layer].data() + block * value_block_size();
  if (row == 0) std::fill_n(values, value_block_size(), 0.0f);
  for (int64_t d = 0; d < shape_.head_dim; ++d) keys[d * columns + row] = key[d];
  for (int64_t panel = 0; panel < num_value_panels(); ++panel) {
    const auto part = value.subspan(panel * columns,
                                    std::min<int64_t>(columns, shape_.head_dim - panel * columns));
    std::ranges::copy(part, values + (panel * columns + row) * columns);
  }
}

void KvCache::Read(int layer, int64_t sequence, int head, int64_t position, std::span<float> key,
                   std::span<float> value) const {
  const int64_t columns = shape_.block_columns;
  const int64_t column = position % columns;
  const float* keys = KeyBlock(layer, sequence, head, position / columns);
  for (size_t d = 0; d < key.size(); ++d) key[d] = keys[d * columns + column];
  const float* values = ValueBlock(layer, sequence, head, position / columns);
  for (size_t d = 0; d < value.size(); ++d) {
    const auto panel = static_cast<int64_t>(d) / columns;
    value[d] = values[(panel * columns + column) * columns + static_cast<int64_t>(d) % columns];
  }
}

const float* KvCache::KeyBlock(int layer, int64_t sequence, int head, int64_t block) const {
  return keys_[layer].data() + BlockIndex(sequence, head, block) * key_block_size();
}

const float* KvCache::ValueBlock(int layer, int64_t sequence, int head, int64_t block) const {
  return values_[layer].data() + BlockIndex(sequence, head, block) * value_block_size();
}

}  // namespace expertile::cpu
