// Where the patches of images lie, as the vision tower needs it: interpolation of its learned
// position table, and row and column for its 2-D RoPE. Pure functions of the grids. Not the
// positions of tokens in a prompt: model/mrope_positions.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "expertile/result.h"
#include "image/image_grid.h"

namespace expertile {

inline constexpr int64_t kTapsPerPatch = 4;  // upper left, upper right, lower left, lower right

// Of all patches of all images, in the order of pixel_values: block by block of merge_size x
// merge_size.
struct VisionPositions {
  std::vector<int32_t> rows;         // [patches], within the image
  std::vector<int32_t> columns;      // [patches]
  std::vector<int32_t> tap_indices;  // [patches, 4], rows of the position table
  std::vector<float> tap_weights;    // [patches, 4]
};

// Bilinear interpolation with corners aligned: patch row r of h lies at r * (grid_side - 1) / (h -
// 1) in the grid_side x grid_side table, in float32 (transformers' vision_utils.py,
// get_vision_position_ids and get_vision_interpolation_indices_and_weights). grid_side is at least
// 1 and at most 4096. Errors: kInvalidArgument for a grid that is empty or that merge_size does not
// divide.
Result<VisionPositions> ComputeVisionPositions(std::span<const ImageGrid> grids, int64_t merge_size,
                                               int64_t grid_side);

}  // namespace expertile
