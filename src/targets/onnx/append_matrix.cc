#include "targets/onnx/append_matrix.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace expertile::onnx_target {

Status AppendRows(const MatrixView& matrix, GraphBuilder& graph) {
  std::vector<float> row(matrix.cols);
  for (int64_t r = 0; r < matrix.rows; ++r) {
    matrix.ReadRow(r, row);
    EXPERTILE_RETURN_IF_ERROR(graph.AppendWeight(row));
  }
  return {};
}

Status AppendTransposed(const MatrixView& matrix, GraphBuilder& graph) {
  constexpr int64_t kPieceValues = int64_t{4} << 20;
  constexpr int64_t kFewestColumns = 16;
  const int64_t columns =
      std::clamp(kPieceValues / matrix.rows, std::min(kFewestColumns, matrix.cols), matrix.cols);
  std::vector<float> row(matrix.cols);
  std::vector<float> piece;  // [columns of the piece, rows]
  for (int64_t first = 0; first < matrix.cols; first += columns) {
    const int64_t count = std::min(columns, matrix.cols - first);
    piece.resize(count * matrix.rows);
    for (int64_t r = 0; r < matrix.rows; ++r) {
      matrix.ReadRow(r, row);
      for (int64_t c = 0; c < count; ++c) piece[c * matrix.rows + r] = row[first + c];
    }
    EXPERTILE_RETURN_IF_ERROR(graph.AppendWeight(piece));
  }
  return {};
}

}  // namespace expertile::onnx_target
