#include "targets/cuda/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"

namespace expertile::cuda {
namespace {

static_assert(kKeysPerBlock == kKvBlockSize);

int PaddedHeadDim(int64_t head_dim) { return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256; }

// A block's elements on the host.
struct HostBlock {
  std::vector<uint16_t> keys;
  std::vector<uint16_t> values;
  std::vector<unsigned long long> non_finite;  // [kv_heads]

  explicit HostBlock(const KvPlanes& planes)
      : keys(planes.block_elements()),
        values(planes.block_elements()),
        non_finite(planes.num_kv_heads) {}
};

Status CopyHostBlock(const KvPlanes& planes, int32_t block, HostBlock& host, cudaMemcpyKind kind,
                     cudaStream_t stream) {
  const auto copy = [&](void* device, void* memory, size_t num_bytes) {
    const bool is_up = kind == cudaMemcpyHostToDevice;
    return Check(
        cudaMemcpyAsync(is_up ? device : memory, is_up ? memory : device, num_bytes, kind, stream),
        "KV cache");
  };
  const int64_t offset = block * planes.block_elements();
  EXPERTILE_RETURN_IF_ERROR(copy(planes.keys + offset, host.keys.data(), host.keys.size() * 2));
  EXPERTILE_RETURN_IF_ERROR(
      copy(planes.values + offset, host.values.data(), host.values.size() * 2));
  EXPERTILE_RETURN_IF_ERROR(copy(planes.non_finite + int64_t{block} * planes.num_kv_heads,
                                 host.non_finite.data(),
                                 host.non_finite.size() * sizeof(unsigned long long)));
  return Check(cudaStreamSynchronize(stream), "KV cache");
}

}  // namespace

int64_t KvCache::BytesOf(int64_t num_blocks, int num_kv_heads, int64_t head_dim) {
  const int64_t heads = num_blocks * num_kv_heads;
  return heads * (2 * 2 * kKeysPerBlock * PaddedHeadDim(head_dim) +
                  static_cast<int64_t>(sizeof(unsigned long long)));
}

Result<KvCache> KvCache::Create(int64_t num_blocks, int num_kv_heads, int64_t head_dim,
                                cudaStream_t stream) {
  if (head_dim > 256) {
    return Unsupported("cuda: heads of {} elements, at most 256 are known", head_dim);
  }
  KvCache cache;
  EXPERTILE_ASSIGN(
      cache.memory_,
      DeviceMemory::Allocate(BytesOf(num_blocks, num_kv_heads, head_dim), "keys and values"));
  KvPlanes& planes = cache.planes_;
  planes.num_kv_heads = num_kv_heads;
  planes.head_dim = static_cast<int>(head_dim);
  planes.padded_head_dim = PaddedHeadDim(head_dim);
  planes.keys = cache.memory_.As<__nv_bfloat16>();
  planes.values = planes.keys + num_blocks * planes.block_elements();
  planes.non_finite =
      reinterpret_cast<unsigned long long*>(planes.values + num_blocks * planes.block_elements());
  EXPERTILE_RETURN_IF_ERROR(
      Check(cudaMemsetAsync(cache.memory_.data(), 0, cache.memory_.size(), stream), "KV cache"));
  return cache;
}

Status KvCache::CopyBlock(int32_t from, int32_t to, cudaStream_t stream) const {
  const auto copy = [&](auto* plane, int64_t size) {
    return Check(cudaMemcpyAsync(plane + to * size, plane + from * size, size * sizeof(*plane),
                                 cudaMemcpyDeviceToDevice, stream),
                 "copy of a block");
  };
  EXPERTILE_RETURN_IF_ERROR(copy(planes_.keys, planes_.block_elements()));
  EXPERTILE_RETURN_IF_ERROR(copy(planes_.values, planes_.block_elements()));
  return copy(planes_.non_finite, planes_.num_kv_heads);
}

Status KvCache::Read(BlockTable blocks, int64_t n, std::span<float> keys, std::span<float> values,
                     cudaStream_t stream) const {
  HostBlock host(planes_);
  const int64_t D = planes_.head_dim;
  for (int64_t first = 0; first < n; first += kKeysPerBlock) {
    EXPERTILE_RETURN_IF_ERROR(CopyHostBlock(planes_, blocks[first / kKeysPerBlock], host,
                                            cudaMemcpyDeviceToHost, stream));
    const auto count = static_cast<int>(std::min<int64_t>(kKeysPerBlock, n - first));
    for (int64_t row = 0; row < int64_t{planes_.num_kv_heads} * count; ++row) {
      const int64_t head = row / count;
      const auto position = static_cast<int>(row % count);
      for (int d = 0; d < D; ++d) {
        const int64_t from = head * planes_.head_elements() + KvPlanes::ElementOf(position, d);
        const int64_t to = (head * n + first + position) * D + d;
        keys[to] = BFloat16ToFloat(host.keys[from]);
        values[to] = BFloat16ToFloat(host.values[from]);
      }
    }
  }
  return {};
}

Status KvCache::Write(BlockTable blocks, int64_t n, std::span<const float> keys,
                      std::span<const float> values, cudaStream_t stream) const {
  HostBlock host(planes_);
  const int64_t D = planes_.head_dim;
  for (int64_t first = 0; first < n; first += kKeysPerBlock) {
    const int32_t block = blocks[first / kKeysPerBlock];
    EXPERTILE_RETURN_IF_ERROR(CopyHostBlock(planes_, block, host, cudaMemcpyDeviceToHost, stream));
    const auto count = static_cast<int>(std::min<int64_t>(kKeysPerBlock, n - first));
    for (int64_t row = 0; row < int64_t{planes_.num_kv_heads} * count; ++row) {
      const int64_t head = row / count;
      const auto position = static_cast<int>(row % count);
      bool is_finite = true;
      for (int d = 0; d < D; ++d) {
        const int64_t to = head * planes_.head_elements() + KvPlanes::ElementOf(position, d);
        const int64_t from = (head * n + first + position) * D + d;
        host.keys[to] = FloatToBFloat16(keys[from]);
        host.values[to] = FloatToBFloat16(values[from]);
        is_finite = is_finite && std::isfinite(BFloat16ToFloat(host.values[to]));
      }
      const unsigned long long bit = 1ull << position;
      host.non_finite[head] =
          is_finite ? host.non_finite[head] & ~bit : host.non_finite[head] | bit;
    }
    EXPERTILE_RETURN_IF_ERROR(CopyHostBlock(planes_, block, host, cudaMemcpyHostToDevice, stream));
  }
  return {};
}

}  // namespace expertile::cuda
