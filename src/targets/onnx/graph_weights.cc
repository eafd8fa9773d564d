#include "targets/onnx/graph_weights.h"

#include <algorithm>

#include "base/error.h"

namespace expertile::onnx_target {
namespace {

// Appends [rows, cols] to the weight that was begun last. Memory: a row.
Status AppendRows(const MatrixView& matrix, GraphBuilder& graph) {
  std::vector<float> row(matrix.cols);
  for (int64_t r = 0; r < matrix.rows; ++r) {
    matrix.ReadRow(r, row);
    EXPERTILE_RETURN_IF_ERROR(graph.AppendWeight(row));
  }
  return {};
}

// Appends [cols, rows]. Memory: 16 MiB, or 16 columns if these are more. The matrix is read once
// for each such piece.
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

}  // namespace

void WeightAdder::NameIn(const Weight& weight, GraphVector& slot) {
  slot = {weight.name, weight.cols};
}
void WeightAdder::NameIn(const Weight& weight, GraphTable& slot) {
  slot = {weight.name, weight.cols};
}
void WeightAdder::NameIn(const Weight& weight, GraphMatrix& slot) {
  slot = {weight.name, weight.has_bias ? weight.name + ".bias" : "", weight.rows};
}
void WeightAdder::NameIn(const Weight& weight, GraphMlp& slot) {
  slot = {weight.name, weight.has_bias};
}
void WeightAdder::NameIn(const Weight& weight, GraphExperts& slot) {
  slot = {weight.name, weight.has_bias, weight.count, weight.cols};
}

Status WeightAdder::Pack(const std::string& name, const WeightView& view, WeightRole role) {
  const MatrixView& matrix = view.linear.weight;
  switch (role) {
    case WeightRole::kVector:
      return AddVectors(name, {matrix.cols}, {&matrix});
    case WeightRole::kEmbedding:
      graph_.BeginWeight(name, {matrix.rows, matrix.cols});
      return AppendRows(matrix, graph_);
    case WeightRole::kMlp:
    case WeightRole::kExperts: {
      const ExpertLayout layout = role == WeightRole::kMlp ? ExpertLayout::kOneByOne : layout_;
      EXPERTILE_RETURN_IF_ERROR(AddLinears(name + ".gate", view.mlps, &MlpView::gate, layout));
      EXPERTILE_RETURN_IF_ERROR(AddLinears(name + ".up", view.mlps, &MlpView::up, layout));
      return AddLinears(name + ".down", view.mlps, &MlpView::down, layout);
    }
    default:
      EXPERTILE_RETURN_IF_ERROR(AddMatrices(name, {matrix.cols, matrix.rows}, {&matrix}));
      if (!view.linear.bias) return {};
      return AddVectors(name + ".bias", {matrix.rows}, {&*view.linear.bias});
  }
}

Status WeightAdder::AddLinears(const std::string& name, std::span<const MlpView> mlps,
                               LinearView MlpView::*part, ExpertLayout layout) {
  if (layout == ExpertLayout::kTogether) {
    std::vector<const LinearView*> all;
    for (const MlpView& mlp : mlps) all.push_back(&(mlp.*part));
    return AddTogether(name, "", all);
  }
  if (layout == ExpertLayout::kBySlot) {
    for (int slot = 0; slot < placement_->local_experts(); ++slot) {
      std::vector<const LinearView*> of_slot;  // null where an NSP has no expert in it
      for (int nsp = 0; nsp < placement_->num_nsp(); ++nsp) {
        const int expert = placement_->ExpertAt(nsp, slot);
        of_slot.push_back(expert == kNoExpert ? nullptr : &(mlps[expert].*part));
      }
      EXPERTILE_RETURN_IF_ERROR(AddTogether(name, ".slot" + std::to_string(slot), of_slot));
    }
    return {};
  }
  for (size_t e = 0; e < mlps.size(); ++e) {
    const LinearView& linear = mlps[e].*part;
    const std::string suffix = "." + std::to_string(e);
    EXPERTILE_RETURN_IF_ERROR(
        AddMatrices(name + suffix, {linear.weight.cols, linear.weight.rows}, {&linear.weight}));
    if (!linear.bias) continue;
    EXPERTILE_RETURN_IF_ERROR(
        AddVectors(name + ".bias" + suffix, {linear.weight.rows}, {&*linear.bias}));
  }
  return {};
}

// NAME SUFFIX [n,in,out] and, with biases, NAME.bias SUFFIX [n,1,out]; null is zeros.
Status WeightAdder::AddTogether(const std::string& name, const std::string& suffix,
                                const std::vector<const LinearView*>& linears) {
  const auto count = static_cast<int64_t>(linears.size());
  const MatrixView& first = linears[0]->weight;
  std::vector<const MatrixView*> weights;
  std::vector<const MatrixView*> biases;
  for (const LinearView* linear : linears) {
    weights.push_back(linear != nullptr ? &linear->weight : nullptr);
    biases.push_back(linear != nullptr && linear->bias ? &*linear->bias : nullptr);
  }
  EXPERTILE_RETURN_IF_ERROR(AddMatrices(name + suffix, {count, first.cols, first.rows}, weights));
  if (!linears[0]->bias) return {};
  return AddVectors(name + ".bias" + suffix, {count, 1, first.rows}, biases);
}

Status WeightAdder::AddMatrices(const std::string& name, const std::vector<int64_t>& shape,
                                const std::vector<const MatrixView*>& matrices) {
  graph_.BeginWeight(name, shape);
  for (const MatrixView* matrix : matrices) {
    if (matrix != nullptr) {
      EXPERTILE_RETURN_IF_ERROR(AppendTransposed(*matrix, graph_));
    } else {
      const std::vector<float> zeros(matrices[0]->rows * matrices[0]->cols, 0.0f);
      EXPERTILE_RETURN_IF_ERROR(graph_.AppendWeight(zeros));
    }
  }
  return {};
}

Status WeightAdder::AddVectors(const std::string& name, const std::vector<int64_t>& shape,
                               const std::vector<const MatrixView*>& vectors) {
  graph_.BeginWeight(name, shape);
  for (const MatrixView* vector : vectors) {
    std::vector<float> values(shape.back(), 0.0f);
    if (vector != nullptr) vector->ReadRow(0, values);
    EXPERTILE_RETURN_IF_ERROR(graph_.AppendWeight(values));
  }
  return {};
}

}  // namespace expertile::onnx_target
