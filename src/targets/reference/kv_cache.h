// The key-value cache of a host target: keys and values of every layer, addressed by (sequence,
// position). Not a policy: who owns which sequence, and when it starts anew, is the runtime's
// business.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/tensor.h"

namespace expertile {

struct KvShape {
  int num_layers = 0;
  int64_t num_sequences = 0;  // B
  int num_kv_heads = 0;
  int64_t ctx_len = 0;
  int64_t head_dim = 0;  // D
};

// Element is float or uint16_t (bfloat16 bits). A layer's keys lie as [B, kv_heads, ctx_len, D],
// and so do its values.
template <typename Element>
class KvCache {
 public:
  static Result<KvCache> Create(const KvShape& shape) {
    KvCache cache(shape);
    if (!CheckedByteSize(DType::kF32, std::array{shape.num_sequences, int64_t{shape.num_kv_heads},
                                                 shape.ctx_len, shape.head_dim})) {
      return InvalidArgument("KV cache: {} sequences of ctx_len {} are too many",
                             shape.num_sequences, shape.ctx_len);
    }
    for (int i = 0; i < 2 * shape.num_layers; ++i) {
      cache.planes_.emplace_back(cache.plane_size());
      if (cache.planes_.back().size() != cache.plane_size()) {
        return Fail(ErrorCode::kOutOfMemory,
                    "KV cache: no memory for {} bytes ({} sequences of ctx_len {})",
                    2 * shape.num_layers * cache.plane_size() * sizeof(Element),
                    shape.num_sequences, shape.ctx_len);
      }
    }
    return cache;
  }

  const KvShape& shape() const { return shape_; }

  // [ctx_len, D] of one head; only positions that were written hold meaning.
  Element* Keys(int layer, int64_t sequence, int head) { return Head(2 * layer, sequence, head); }
  const Element* Keys(int layer, int64_t sequence, int head) const {
    return const_cast<KvCache*>(this)->Keys(layer, sequence, head);
  }
  const Element* Values(int layer, int64_t sequence, int head) const {
    return const_cast<KvCache*>(this)->Values(layer, sequence, head);
  }
  Element* Values(int layer, int64_t sequence, int head) {
    return Head(2 * layer + 1, sequence, head);
  }

 private:
  explicit KvCache(const KvShape& shape) : shape_(shape) {}
  size_t plane_size() const {
    return shape_.num_sequences * shape_.num_kv_heads * shape_.ctx_len * shape_.head_dim;
  }
  Element* Head(int plane, int64_t sequence, int head) {
    return planes_[plane].data() +
           (sequence * shape_.num_kv_heads + head) * shape_.ctx_len * shape_.head_dim;
  }

  KvShape shape_;
  std::vector<AlignedBuffer<Element>> planes_;  // keys and values of layer 0, of layer 1, …
};

}  // namespace expertile
