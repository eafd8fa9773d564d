// Weights as the CUDA target's ops take them: where they lie on the device, and their sizes.
// Not how they got there (weight_packing.h), nor their layout (tile_layout.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "targets/cuda/kernels/gemm.h"

namespace expertile::cuda {

struct DeviceVector {
  const float* data = nullptr;
  int64_t count = 0;
  int64_t size() const { return count; }
};

// A table whose rows are looked up, as it lies in the checkpoint.
struct DeviceTable {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
};

struct DeviceLinear {
  TiledWeights tiles;
  int64_t out = 0;
  int64_t in = 0;
  // Of a product that is not rounded (WeightRole::kRouter): how often the depth is gone through.
  // 2: weights for rounded rows and for what rounding took; 3: also weights' own rest.
  int parts = 1;
};

// A gated MLP, or `count` of them one after another.
struct DeviceMlp {
  TiledWeights gate_up;  // [GateUpColumns(I), H]
  TiledWeights down;     // [H, I]
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int count = 1;
};
struct DeviceExperts : DeviceMlp {};

}  // namespace expertile::cuda
