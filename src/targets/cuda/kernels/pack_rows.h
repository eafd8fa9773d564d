// The CUDA target's pass that packs experts' rows into tiles before their first product, where that
// pays (PacksRows, tile_shape.h). Not the index that says which rows: routing.h.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "targets/cuda/kernels/gemm.h"

namespace expertile::cuda {

struct PackRowsArgs {
  const __nv_bfloat16* rows = nullptr;  // [T, row_stride]
  int64_t row_stride = 0;               // a multiple of 8
  int depth_tiles = 0;                  // of 64 elements; rows have zeros up to there
  const int32_t* gather = nullptr;      // packed row -> assignment
  int gather_divisor = 1;               // assignment / gather_divisor = row
  const RowTile* row_tiles = nullptr;
  const int32_t* num_row_tiles = nullptr;
  int64_t max_row_tiles = 0;
  int tile_rows = 0;                // at most; a multiple of 8
  __nv_bfloat16* packed = nullptr;  // in tiles (GemmArgs::stored_rows)
  int64_t stored_rows = 0;
};

cudaError_t LaunchPackRows(const PackRowsArgs& args, cudaStream_t stream);

}  // namespace expertile::cuda
