// A matrix of bfloat16 in memory as the copy engine takes it: rows of one box at a time, swizzled
// on their way to shared memory. Not for rows that are gathered: a copy of a single row keeps the
// warp that starts it for 80 cycles.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "targets/cuda/kernels/barriers.cuh"
#include "targets/cuda/kernels/tile_layout.h"

namespace expertile::cuda {

// The driver's function, which no library is linked for; null where it is missing.
inline decltype(&cuTensorMapEncodeTiled) FindTensorMapEncoder() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = {};
#if CUDART_VERSION >= 12050
  constexpr unsigned kSince = 12000;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found,
                                                             kSince, cudaEnableDefault, &result);
#else
  const cudaError_t error =
      cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &result);
#endif
  const bool is_found = error == cudaSuccess && result == cudaDriverEntryPointSuccess;
  return is_found ? reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found) : nullptr;
}

// Of rows [count, stride], boxes of `box_rows` rows and kTileDepth elements. What lies outside of
// them comes as zeros, and counts among a box's bytes.
inline cudaError_t MakeRowMap(const __nv_bfloat16* rows, int64_t count, int64_t stride,
                              int box_rows, CUtensorMap* map) {
  static const auto encode = FindTensorMapEncoder();
  if (encode == nullptr) return cudaErrorNotSupported;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(stride), static_cast<cuuint64_t>(count)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride) * sizeof(__nv_bfloat16)};
  const cuuint32_t box[] = {kTileDepth, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  const CUresult result =
      encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<__nv_bfloat16*>(rows), sizes,
             strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

// A box from element `column` of row `row` on; the barrier counts its bytes.
__device__ inline void CopyBox(uint32_t shared, const CUtensorMap& map, int column, int row,
                               uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared),
      "l"(&map), "r"(column), "r"(row), "r"(barrier)
      : "memory");
}

}  // namespace expertile::cuda
