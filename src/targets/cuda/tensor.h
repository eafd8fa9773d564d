// Activations on the device, and the pool that their memory comes from and goes back to.
// Not their kernels.
#pragma once

#include <cuda_bf16.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "targets/cuda/device.h"
#include "targets/cuda/kernels/rows.h"
#include "targets/cuda/kernels/tile_layout.h"
#include "targets/cuda/weights.h"

namespace expertile::cuda {

// Pieces of few large slabs. All work is on one stream, in the order in which it is asked for, so
// what is given back can be taken again at once. The same takes and gives give the same addresses.
class BufferPool {
 public:
  // Errors: out of memory.
  Status Reserve(int64_t num_bytes, const std::string& what);
  // From the first gap that is large enough; a new slab if there is none.
  Result<std::byte*> Take(int64_t num_bytes);
  void Give(std::byte* data);

 private:
  struct Slab {
    DeviceMemory memory;
    std::map<int64_t, int64_t> taken;  // offset -> end
  };
  static std::byte* TakeFrom(Slab& slab, int64_t num_bytes);

  std::vector<Slab> slabs_;
};

struct Rotation {
  std::shared_ptr<std::byte> data;
  const float* cos = nullptr;  // [T, D/2]
  const float* sin = nullptr;  // [T, D/2]
};

struct PendingSum;

// A tensor shares its memory with its copies. What the forward pass asks for is noted where a later
// kernel does it on its way: the norm and rotation of queries and keys where they are written to
// the cache, the sum of experts where it is added, and a sum where it is normalised.
struct Tensor {
  enum class Form {
    kFloats,   // float32 [rows, stride], stride = width padded to 8
    kExperts,  // bfloat16 [rows K, stride]: experts' rows, whose weighted sum is yet to be made
    kSplit,    // SplitRows
    kHeads,    // bfloat16 [rows, stride]: a part of the columns of queries, keys and values
  };

  std::shared_ptr<std::byte> data;
  Form form = Form::kFloats;
  int64_t rows = 0;
  int64_t width = 0;
  int64_t stride = 0;
  int64_t column = 0;                  // of kHeads: the first of its columns
  const DeviceVector* norm = nullptr;  // of kHeads, yet to be applied: null, or the norm's weights
  float epsilon = 0.0f;
  Rotation rotation = {};                    // of kHeads, yet to be applied
  std::shared_ptr<std::byte> weights = {};   // of kExperts: float [rows, K]
  int experts_per_token = 0;                 // of kExperts: K
  std::shared_ptr<PendingSum> pending = {};  // of kFloats: yet to be added; null, or done

  float* floats() const { return reinterpret_cast<float*>(data.get()); }
  __nv_bfloat16* bfloats() const { return reinterpret_cast<__nv_bfloat16*>(data.get()); }
  Addend AddendOf(float scale) const {
    if (form == Form::kFloats) return {.rows = floats(), .scale = scale};
    return {.experts = bfloats(),
            .weights = reinterpret_cast<const float*>(weights.get()),
            .experts_per_token = experts_per_token,
            .experts_stride = stride,
            .scale = scale};
  }
  SplitRows split() const { return {bfloats(), rows, width, RoundUp(width, kTileDepth)}; }
};

// y * scale, which is added to a tensor's own memory, once for all that share it.
struct PendingSum {
  Tensor y;
  float scale = 1.0f;
  bool is_done = false;
};

}  // namespace expertile::cuda
