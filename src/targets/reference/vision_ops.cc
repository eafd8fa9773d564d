#include "targets/reference/vision_ops.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "targets/reference/arithmetic.h"

namespace expertile::reference {
namespace {

double GeluOf(double x, GeluKind kind) {
  if (kind == GeluKind::kErf) return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
  const double scale = std::sqrt(2.0 / std::numbers::pi);
  return 0.5 * x * (1.0 + std::tanh(scale * (x + 0.044715 * x * x * x)));
}

}  // namespace

Tensor ReferenceVisionOps::WeightedRows(const Embedding& table, std::span<const int32_t> indices,
                                        std::span<const float> weights, int64_t per_row) const {
  Tensor y = Tensor::Zeros(static_cast<int64_t>(indices.size()) / per_row, table.cols);
  Vector row(table.cols);
  for (size_t i = 0; i < indices.size(); ++i) {
    table.ReadRow(indices[i], row);
    const auto sum = y.Row(static_cast<int64_t>(i) / per_row);
    for (size_t j = 0; j < sum.size(); ++j) sum[j] += row[j] * weights[i];
  }
  return y;
}

Tensor ReferenceVisionOps::LayerNorm(const Tensor& x, const Vector& weight, const Vector& bias,
                                     float epsilon) const {
  Tensor y = x;
  const auto size = static_cast<double>(x.width);
  for (int64_t t = 0; t < y.rows; ++t) {
    const auto row = y.Row(t);
    double mean = 0.0;
    for (const float value : row) mean += value / size;
    double variance = 0.0;
    for (const float value : row) variance += (value - mean) * (value - mean) / size;
    const double inverse = 1.0 / std::sqrt(variance + epsilon);
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = static_cast<float>((row[i] - mean) * inverse * weight[i] + bias[i]);
    }
  }
  return y;
}

Tensor ReferenceVisionOps::Gelu(Tensor x, GeluKind kind) const {
  for (float& value : x.values) value = static_cast<float>(GeluOf(value, kind));
  return x;
}

Tensor ReferenceVisionOps::SegmentAttention(const Tensor& query, const Tensor& key,
                                            const Tensor& value, int num_heads, float scale,
                                            int64_t segment_size) const {
  const int64_t head_dim = query.width / num_heads;
  const int64_t num_segments = query.rows / segment_size;
  Tensor mixed = Tensor::Zeros(query.rows, query.width);
  pool().ForEach(num_segments * num_heads, [&](int64_t piece, int) {
    const int64_t first = piece / num_heads * segment_size;
    const int64_t column = piece % num_heads * head_dim;
    const auto head_of = [&](const Tensor& rows) {
      return [&rows, first, column, head_dim](int64_t t) {
        return rows.Row(first + t).subspan(column, head_dim);
      };
    };
    for (int64_t t = first; t < first + segment_size; ++t) {
      AttendHead(query.Row(t).subspan(column, head_dim), head_of(key), head_of(value), 0,
                 segment_size, scale, nullptr, mixed.Row(t).subspan(column, head_dim));
    }
  });
  return mixed;
}

}  // namespace expertile::reference
