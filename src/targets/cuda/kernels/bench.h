// What the device can do at most, and weights that are made on it: for benches.
// Not the benches themselves: cuda_bench.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace expertile::cuda {

enum class Fill { kBFloat16, kFloat32, kNearOne, kBytes, kE8m0 };

// Random values, the same for the same sizes: numbers of at most `size`, as far from
// 1, any bytes, or scales
// around 2^-8.
cudaError_t LaunchFill(Fill fill, void* data, int64_t num_bytes, float size, cudaStream_t stream);

// Every multiprocessor multiplies tiles [128, 256] from shared memory, `steps` times a depth of 64:
// wgmma's own rate. FLOPs of one launch in `flops`.
cudaError_t LaunchMultiplyRoof(int num_processors, int steps, double* flops, cudaStream_t stream);

}  // namespace expertile::cuda
