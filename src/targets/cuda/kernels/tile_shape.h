// Which tile the CUDA target's matrix product takes for a problem: a pure function of its sizes.
// Not the kernels: gemm.cu and gemm_mxfp4.cu. Results do not depend on it.
#pragma once

#include <cstdint>

namespace expertile::cuda {

struct TileShape {
  int rows;     // 64 or 128; of few rows 8; of MXFP4 128 or 256
  int columns;  // 16 with 8 rows; 32, 128 or 256 with 64; 128 or 256 with 128; of MXFP4 128

  bool operator==(const TileShape&) const = default;
};

// Of few rows: each warp's own tile (gemm_few_rows.cu).
inline constexpr TileShape kFewRowsTile{8, 16};

// `rows` in all go to `groups` matrices of `columns` columns each (one group: a dense product), on
// `processors` multiprocessors. Where there are several groups the number of rows follows from the
// first two alone.
TileShape ChooseTileShape(int64_t rows, int64_t groups, int64_t columns, int processors);

// The same of MXFP4 experts, whose few rows are bfloat16's.
inline constexpr int kMaxMxfp4Rows = 256;
inline constexpr int kMxfp4TileColumns = 128;
TileShape ChooseMxfp4Shape(int64_t rows, int64_t groups);

// Whether experts' rows, `rows` in all of `groups` experts, are packed into tiles before the first
// of their products, of `columns` columns, rather than gathered in it. `chunk` is the packed chunk
// size, 0: no limit.
bool PacksRows(TileShape shape, bool is_mxfp4, int64_t rows, int64_t groups, int64_t columns,
               int64_t chunk);

}  // namespace expertile::cuda
