// The reference's key-value cache: keys and values of every layer in blocks of positions.
// Not a policy: which blocks a sequence has, and when it starts anew, is running/'s business.
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
#include "model/step.h"

namespace expertile::reference {

struct KvShape {
  int num_layers = 0;
  int64_t num_blocks = 0;
  int num_kv_heads = 0;
  int64_t head_dim = 0;  // D
};

// A layer's keys lie as [blocks, kv_heads, kKvBlockSize, D], and so do its values.
class KvCache {
 public:
  static Result<KvCache> Create(const KvShape& shape) {
    KvCache cache(shape);
    const auto num_bytes = CheckedByteSize(
        DType::kF32, std::array{shape.num_blocks, int64_t{shape.num_kv_heads}, kKvBlockSize,
                                shape.head_dim});
    if (!num_bytes) return InvalidArgument("KV cache: {} blocks are too many", shape.num_blocks);
    const size_t plane_size = *num_bytes / sizeof(float);
    for (int i = 0; i < 2 * shape.num_layers; ++i) {
      if (cache.planes_.emplace_back(plane_size).size() == plane_size) continue;
      return Fail(ErrorCode::kOutOfMemory, "KV cache: no memory for {} blocks of {} positions",
                  shape.num_blocks, kKvBlockSize);
    }
    return cache;
  }

  const KvShape& shape() const { return shape_; }

  // [D] of one position; only those that were written hold meaning.
  std::span<float> Key(int layer, BlockTable blocks, int head, int64_t position) {
    return Row(2 * layer, blocks, head, position);
  }
  std::span<float> Value(int layer, BlockTable blocks, int head, int64_t position) {
    return Row(2 * layer + 1, blocks, head, position);
  }

  void CopyBlock(int32_t from, int32_t to) {
    const int64_t size = shape_.num_kv_heads * kKvBlockSize * shape_.head_dim;
    for (AlignedBuffer<float>& plane : planes_) {
      std::copy_n(plane.data() + from * size, size, plane.data() + to * size);
    }
  }

 private:
  explicit KvCache(const KvShape& shape) : shape_(shape) {}
  std::span<float> Row(int plane, BlockTable blocks, int head, int64_t position) {
    const int64_t block = blocks[position / kKvBlockSize];
    const int64_t row =
        (block * shape_.num_kv_heads + head) * kKvBlockSize + position % kKvBlockSize;
    return {planes_[plane].data() + row * shape_.head_dim, static_cast<size_t>(shape_.head_dim)};
  }

  KvShape shape_;
  std::vector<AlignedBuffer<float>> planes_;  // keys and values of layer 0, of layer 1, …
};

}  // namespace expertile::reference
