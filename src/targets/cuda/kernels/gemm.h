// The CUDA target's matrix product: rows, gathered or not, times tiles of weights, with what
// follows it in its epilogue. What the host knows of it; the kernel is gemm.cu.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "targets/cuda/kernels/tile_shape.h"

namespace expertile::cuda {

// Rows [begin, end) of the packed rows of one expert: at most TileShape::rows of them.
struct RowTile {
  int32_t expert;
  int32_t begin;
  int32_t end;
  int32_t stored;  // where `begin` lies in rows that are stored in tiles: a multiple of 8
};

// A weight matrix [columns, depth] in tiles (tile_layout.h).
struct TiledWeights {
  const std::byte* data = nullptr;  // bfloat16 tiles, or MXFP4 codes
  const uint8_t* scales = nullptr;  // of MXFP4 codes; else null
  const float* bias = nullptr;      // [columns], in the columns' order; or null
  int64_t bytes_per_expert = 0;     // from one expert's to the next, as are the two below
  int64_t scales_per_expert = 0;
  int64_t columns = 0;  // a multiple of 8
};

enum class Epilogue {
  kFloat32,   // sums, plus the bias
  kBFloat16,  // the same, rounded
  kSilu,      // silu(gate) * up of columns in blocks of 8 gates and 8 ups, rounded
  kSwiGlu,    // GatedActivation::kClampedSwiGlu of the same
};

// Rows lie one after another, or in tiles: as a weight matrix does (tile_layout.h), with packed
// rows for its columns, those of each expert from a multiple of 8 on. The rows of a RowTile are
// then one copy for each 64 of the depth.
struct GemmArgs {
  const __nv_bfloat16* rows = nullptr;  // [.., row_stride], or in tiles
  int64_t row_stride = 0;               // a multiple of 8
  int64_t stored_rows = 0;              // of `rows` in tiles; 0: one after another
  int depth_tiles = 0;                  // of 64 elements; rows have zeros up to there
  int wrap_tiles = 0;                   // tiles of a row; past them a row begins again, once
  // Packed row -> assignment. Null: packed row = row, of a dense product, or rows in tiles.
  const int32_t* gather = nullptr;
  int gather_divisor = 1;        // assignment / gather_divisor = row
  TiledWeights weights[3] = {};  // side by side
  int num_weights = 1;
  int out_column[3] = {0, 0, 0};  // of the first column of each in a row of `out`: multiples of 8
  void* out = nullptr;            // of kSilu and kSwiGlu in tiles
  int64_t out_stride = 0;         // of rows one after another, a multiple of 8
  int64_t out_stored_rows = 0;    // of rows in tiles
  const int32_t* scatter = nullptr;      // packed row -> row of `out`; or null
  const RowTile* row_tiles = nullptr;    // null: rows 0 to num_rows - 1 of one expert
  const int32_t* nsp_offsets = nullptr;  // [num_nsp + 1], into row_tiles
  int num_nsp = 1;
  // The kernel before this one began only once the list of row tiles was there.
  bool is_plan_there = false;
  // [num_nsp], zeros, of experts: how many tiles an NSP's blocks have taken beyond one each. Null,
  // as of a dense product, and where rows are few: a block takes every so-many-th tile.
  int32_t* claims = nullptr;
  int64_t num_rows = 0;
  int64_t most_rows = kFewRowsTile.rows;  // that a tile of few rows can have
  float limit = 0.0f;                     // of kSwiGlu
  float alpha = 1.0f;
};

cudaError_t LaunchGemm(const GemmArgs& args, TileShape shape, Epilogue epilogue, int num_processors,
                       cudaStream_t stream);

}  // namespace expertile::cuda
