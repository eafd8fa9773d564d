// Which tile the CUDA target's matrix product takes for a problem: a pure function of its sizes.
// Not the kernel: gemm.cu. Results do not depend on it.
#pragma once

#include <cstdint>

namespace expertile::cuda {

struct TileShape {
  int rows;     // 64 or 128
  int columns;  // 32, 128 or 256; the larger with either number of rows, 32 with 64

  bool operator==(const TileShape&) const = default;
};

// `rows` in all go to `groups` matrices of `columns` columns each (one group: a dense product), on
// `processors` multiprocessors.
TileShape ChooseTileShape(int64_t rows, int64_t groups, int64_t columns, int processors);

}  // namespace expertile::cuda
