#include "model/vision_positions.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "base/error.h"

namespace expertile {
namespace {

// The two rows (or columns) of the position table on either side of a patch, and their weights.
struct AxisTaps {
  std::array<int32_t, 2> indices;
  std::array<float, 2> weights;
};

// In the order of transformers' _interpolation_axis_taps_weights, so that float32 rounds alike.
AxisTaps TapsOf(int64_t index, int64_t size, int64_t grid_side) {
  const float position = static_cast<float>(index * (grid_side - 1)) /
                         static_cast<float>(std::max<int64_t>(size - 1, 1));
  const float floor = std::floor(position);
  const float fraction = position - floor;
  const auto first = static_cast<int32_t>(floor);
  const auto last = static_cast<int32_t>(grid_side - 1);
  return {{std::min(first, last), std::min(first + 1, last)},
          {1.0f - fraction, 1.0f - std::abs(fraction - 1.0f)}};
}

std::vector<AxisTaps> TapsOfAxis(int64_t size, int64_t grid_side) {
  std::vector<AxisTaps> taps;
  for (int64_t i = 0; i < size; ++i) taps.push_back(TapsOf(i, size, grid_side));
  return taps;
}

void AppendTaps(const AxisTaps& row, const AxisTaps& column, int64_t grid_side,
                VisionPositions& positions) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      positions.tap_indices.push_back(row.indices[i] * static_cast<int32_t>(grid_side) +
                                      column.indices[j]);
      positions.tap_weights.push_back(row.weights[i] * column.weights[j]);
    }
  }
}

void AppendFrame(const ImageGrid& grid, int64_t merge_size, int64_t grid_side,
                 VisionPositions& positions) {
  const auto row_taps = TapsOfAxis(grid.h, grid_side);
  const auto column_taps = TapsOfAxis(grid.w, grid_side);
  const auto append_patch = [&](int64_t row, int64_t column) {
    positions.rows.push_back(static_cast<int32_t>(row));
    positions.columns.push_back(static_cast<int32_t>(column));
    AppendTaps(row_taps[row], column_taps[column], grid_side, positions);
  };
  for (int64_t block_row = 0; block_row < grid.h; block_row += merge_size) {
    for (int64_t block_column = 0; block_column < grid.w; block_column += merge_size) {
      for (int64_t i = 0; i < merge_size * merge_size; ++i) {
        append_patch(block_row + i / merge_size, block_column + i % merge_size);
      }
    }
  }
}

}  // namespace

Result<VisionPositions> ComputeVisionPositions(std::span<const ImageGrid> grids, int64_t merge_size,
                                               int64_t grid_side) {
  EXPERTILE_DCHECK(merge_size >= 1 && grid_side >= 1 && grid_side <= 4096);
  VisionPositions positions;
  for (const ImageGrid& grid : grids) {
    if (grid.num_patches() < 1 || grid.h % merge_size != 0 || grid.w % merge_size != 0) {
      return InvalidArgument("image of {}x{}x{} patches: not made of blocks of {}x{}", grid.t,
                             grid.h, grid.w, merge_size, merge_size);
    }
    for (int64_t frame = 0; frame < grid.t; ++frame) {
      AppendFrame(grid, merge_size, grid_side, positions);
    }
  }
  return positions;
}

}  // namespace expertile
