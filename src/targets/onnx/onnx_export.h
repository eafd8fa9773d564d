// Exports a decoder or a vision tower as an ONNX graph: the forward pass run with Ops that emit
// nodes. Not the choice of graphs for a set of options: compiling/graph_exports.h.
#pragma once

#include <filesystem>

#include "expertile/progress.h"
#include "image/image_grid.h"
#include "model/checkpoint.h"
#include "targets/onnx/onnx_ops.h"

namespace expertile::onnx_target {

// Writes `file` and, where the weights are more than 1 GiB, FILE.data beside it: not whole or not
// at all, the caller sees to that. With options.image_token_id it takes image rows. Weights pass in
// pieces of matrices. Errors: I/O, out of memory.
Status ExportDecoder(const Checkpoint& checkpoint, const GraphOptions& options,
                     const std::filesystem::path& file, const Watch& on_layer);

// The same of the tower, which `checkpoint` has, for images of one size. Input: pixel_values
// [grid.num_patches(), values of a patch]. Outputs: vision_embeds [1, M, H] and deepstack_features
// [features, 1, M, H], M being the grid's merged patches.
Status ExportVision(const Checkpoint& checkpoint, const ImageGrid& grid,
                    const std::filesystem::path& file);

}  // namespace expertile::onnx_target
