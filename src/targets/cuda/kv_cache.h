// A layer's keys and values on the device, and their way from and to the host.
// Not the attention over them: attention.h says how they lie.
#pragma once

#include <cstdint>
#include <span>

#include "model/step.h"
#include "targets/cuda/device.h"
#include "targets/cuda/kernels/attention.h"

namespace expertile::cuda {

class KvCache {
 public:
  static Result<KvCache> Create(int64_t num_blocks, int num_kv_heads, int64_t head_dim,
                                cudaStream_t stream);

  // Of a layer with these sizes, all three planes.
  static int64_t BytesOf(int64_t num_blocks, int num_kv_heads, int64_t head_dim);

  const KvPlanes& planes() const { return planes_; }
  Status CopyBlock(int32_t from, int32_t to, cudaStream_t stream) const;
  // Positions 0 to n - 1: keys and values [kv_heads, n, D]. Waits for the stream.
  Status Read(BlockTable blocks, int64_t n, std::span<float> keys, std::span<float> values,
              cudaStream_t stream) const;
  Status Write(BlockTable blocks, int64_t n, std::span<const float> keys,
               std::span<const float> values, cudaStream_t stream) const;

 private:
  DeviceMemory memory_;
  KvPlanes planes_;
};

}  // namespace expertile::cuda
