// Checkpoint matrices as the values of a graph's weight, in bounded memory.
// Not which weights there are: export_decoder.cc, export_vision.cc.
#pragma once

#include "formats/matrix_view.h"
#include "targets/onnx/graph_builder.h"

namespace expertile::onnx_target {

// Appends [rows, cols] to the weight that was begun last. Memory: a row.
Status AppendRows(const MatrixView& matrix, GraphBuilder& graph);

// Appends [cols, rows]. Memory: 16 MiB, or 16 columns if these are more. The matrix is read once
// for each such piece.
Status AppendTransposed(const MatrixView& matrix, GraphBuilder& graph);

}  // namespace expertile::onnx_target
