// Keys and values of one layer of the reference, in blocks of positions: float32 values that the
// cache's number format has. Not a policy: which blocks a sequence has, and when it starts anew, is
// running/'s business.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/tensor.h"
#include "formats/kv_codec.h"
#include "model/step.h"

namespace expertile::reference {

class KvCache {
 public:
  // Errors: out of memory.
  static Result<KvCache> Create(int64_t num_blocks, int num_kv_heads, const KvCodec& codec) {
    KvCache cache(num_kv_heads, codec);
    const auto num_bytes = CheckedByteSize(
        DType::kF32, std::array{num_blocks, int64_t{num_kv_heads}, kKvBlockSize, codec.head_dim()});
    if (!num_bytes) {
      return InvalidArgument("KV cache: {} blocks of {} positions are too many", num_blocks,
                             kKvBlockSize);
    }
    const size_t size = *num_bytes / sizeof(float);
    if (cache.keys_.Reserve(size) && cache.values_.Reserve(size)) return cache;
    return Fail(ErrorCode::kOutOfMemory, "KV cache: no memory for {} blocks of {} positions",
                num_blocks, kKvBlockSize);
  }

  int64_t head_dim() const { return codec_.head_dim(); }  // D

  // [D] of one position of a sequence; only those that were written hold meaning.
  std::span<const float> Key(BlockTable blocks, int head, int64_t position) const {
    return {keys_.data() + OffsetOf(blocks, head, position), static_cast<size_t>(head_dim())};
  }
  std::span<const float> Value(BlockTable blocks, int head, int64_t position) const {
    return {values_.data() + OffsetOf(blocks, head, position), static_cast<size_t>(head_dim())};
  }

  // Stores what the cache's format makes of a key and a value, each [D].
  void Write(BlockTable blocks, int head, int64_t position, std::span<const float> key,
             std::span<const float> value) {
    const int64_t offset = OffsetOf(blocks, head, position);
    Round(key, keys_.data() + offset);
    Round(value, values_.data() + offset);
  }

  void CopyBlock(int32_t from, int32_t to) {
    const int64_t size = num_kv_heads_ * kKvBlockSize * codec_.head_dim();
    for (AlignedBuffer<float>* rows : {&keys_, &values_}) {
      std::copy_n(rows->data() + from * size, size, rows->data() + to * size);
    }
  }

 private:
  KvCache(int num_kv_heads, const KvCodec& codec) : num_kv_heads_(num_kv_heads), codec_(codec) {}

  int64_t OffsetOf(BlockTable blocks, int head, int64_t position) const {
    const int64_t block = blocks[position / kKvBlockSize];
    const int64_t row = (block * num_kv_heads_ + head) * kKvBlockSize + position % kKvBlockSize;
    return row * codec_.head_dim();
  }
  void Round(std::span<const float> values, float* rounded) const {
    std::vector<std::byte> elements(codec_.row_bytes());
    std::vector<std::byte> scales(codec_.row_scales());
    codec_.Encode(values, 0, elements, scales);
    codec_.Decode(elements, scales, 0, {rounded, values.size()});
  }

  int num_kv_heads_;
  KvCodec codec_;
  AlignedBuffer<float> keys_;    // [blocks, kv_heads, kKvBlockSize, D]
  AlignedBuffer<float> values_;  // likewise
};

}  // namespace expertile::reference
