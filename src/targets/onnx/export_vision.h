// Exports a vision tower as an ONNX graph for images of one size.
// Not the language graph that takes its rows: export_decoder.h.
#pragma once

#include <filesystem>

#include "image/image_grid.h"
#include "model/checkpoint.h"

namespace expertile::onnx_target {

// Input: pixel_values [grid.num_patches(), values of a patch]. Outputs: vision_embeds [1, M, H] and
// deepstack_features [features, 1, M, H], M being the grid's merged patches. `checkpoint` has a
// tower.
Status ExportVision(const Checkpoint& checkpoint, const ImageGrid& grid,
                    const std::filesystem::path& file);

}  // namespace expertile::onnx_target
