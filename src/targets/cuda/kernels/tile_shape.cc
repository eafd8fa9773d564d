#include "targets/cuda/kernels/tile_shape.h"

#include <algorithm>
#include <array>

namespace expertile::cuda {
namespace {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Cycles of a step of 64 of the depth: of the tensor cores, a quarter of which is one warpgroup's;
// of the second-level cache, which gives a multiprocessor some 40 bytes a cycle; of the step
// itself.
double StepCycles(const TileShape& shape, int64_t rows_there) {
  const int warpgroups = shape.rows / 64;
  const double multiply = 2.0 * shape.columns * warpgroups;
  const double fetch = 128.0 / 40.0 * static_cast<double>(rows_there + shape.columns);
  return std::max({multiply, fetch, 300.0});
}

bool AreFew(int64_t rows, int64_t groups) {
  return groups == 1 ? rows <= kFewRowsTile.rows : rows <= 2 * groups;
}

}  // namespace

// Few rows: a group's are one tile, or two at times. 128 rows read each weight half as often as 64,
// which pays once an expert's rows fill them. Of the shapes that are left, the one whose tiles are
// through soonest, in whole rounds of the processors.
TileShape ChooseTileShape(int64_t rows, int64_t groups, int64_t columns, int processors) {
  constexpr std::array kShapes = {TileShape{128, 256}, TileShape{128, 128}, TileShape{64, 256},
                                  TileShape{64, 128}, TileShape{64, 32}};
  if (AreFew(rows, groups)) return kFewRowsTile;
  const int64_t rows_per_group = std::max<int64_t>(1, CeilDiv(rows, groups));
  const int grouped_rows = rows_per_group > 48 ? 128 : 64;
  const int64_t chosen_groups = std::min(rows, groups);
  TileShape best = kShapes.back();
  double least = -1.0;
  for (const TileShape& shape : kShapes) {
    if (groups > 1 && shape.rows != grouped_rows) continue;
    const int64_t tiles = chosen_groups * CeilDiv(rows_per_group, shape.rows) *
                          CeilDiv(std::max<int64_t>(1, columns), shape.columns);
    const double cycles = static_cast<double>(CeilDiv(tiles, processors)) *
                          StepCycles(shape, std::min<int64_t>(shape.rows, rows_per_group));
    if (least >= 0.0 && cycles >= least) continue;
    best = shape;
    least = cycles;
  }
  return best;
}

// Codes are read and expanded once for all rows of a tile, and only rows that are there are
// multiplied: most experts' rows are one tile. Where they fit, tiles of 128 rows have twice as many
// steps on their way.
TileShape ChooseMxfp4Shape(int64_t rows, int64_t groups) {
  if (AreFew(rows, groups)) return kFewRowsTile;
  return {CeilDiv(rows, groups) > 96 ? kMaxMxfp4Rows : 128, kMxfp4TileColumns};
}

// Gathering takes a product 290 of 1470 cycles a step (docs/cuda.md) for each tile of columns; a
// pass of its own writes a row once, and has it read from memory instead of the second-level cache:
// as much as six tiles of columns take. Where weights take longer to read than to multiply,
// bfloat16's up to some 256 rows an expert, nothing is gained. Tiles that chunks cut short would
// leave most of the pass's warps without rows.
bool PacksRows(TileShape shape, bool is_mxfp4, int64_t rows, int64_t groups, int64_t columns,
               int64_t chunk) {
  constexpr int64_t kTilesThatPay = 8;
  const int64_t rows_that_pay = is_mxfp4 ? 1 : 384;
  return shape != kFewRowsTile && rows >= rows_that_pay * groups &&
         CeilDiv(columns, shape.columns) >= kTilesThatPay && (chunk == 0 || chunk >= shape.rows);
}

}  // namespace expertile::cuda
