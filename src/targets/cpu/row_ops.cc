#include "targets/cpu/row_ops.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace expertile::cpu {
namespace {

// Rows of one piece of an element-wise op: enough work to be worth taking.
constexpr int64_t kRowsPerPiece = 16;

}  // namespace

void CpuRowOps::ForRows(int64_t num_rows, FunctionRef<void(int64_t row)> task) {
  context_.pool->ForEach(CeilDiv(num_rows, kRowsPerPiece), [&](int64_t piece, int) {
    const int64_t end = std::min(num_rows, (piece + 1) * kRowsPerPiece);
    for (int64_t row = piece * kRowsPerPiece; row < end; ++row) task(row);
  });
}

Tensor CpuRowOps::Finished(Status outcome, Tensor y) {
  if (outcome) return y;
  std::fill_n(y.data(), y.rows() * y.width(), 0.0f);
  if (failure_) failure_ = std::move(outcome);
  return y;
}

// As the reference computes it: the angle rounded to float before cos and sin.
CpuRowOps::Rotation CpuRowOps::RotationOf(const RopeSpec& rope,
                                          std::span<const int32_t> positions) {
  const auto num_pairs = static_cast<int64_t>(rope.inv_freq.size());
  const auto num_rows = static_cast<int64_t>(positions.size()) / rope.num_axes;
  Rotation rotation{NewTensor(num_rows, num_pairs), NewTensor(num_rows, num_pairs)};
  ForRows(num_rows, [&](int64_t t) {
    for (int64_t j = 0; j < num_pairs; ++j) {
      const auto position = static_cast<float>(positions[rope.AxisOf(j) * num_rows + t]);
      const float angle = position * rope.inv_freq[j];
      rotation.cos.Row(t)[j] = std::cos(angle) * rope.table_scale;
      rotation.sin.Row(t)[j] = std::sin(angle) * rope.table_scale;
    }
  });
  return rotation;
}

Tensor CpuRowOps::Scale(Tensor x, float scale) {
  if (scale == 1.0f) return x;
  ForRows(x.rows(), [&](int64_t t) {
    for (float& value : x.Row(t)) value *= scale;
  });
  return x;
}

Tensor CpuRowOps::AddScaled(Tensor x, const Tensor& y, float scale) {
  ForRows(x.rows(), [&](int64_t t) {
    const auto sum = x.Row(t);
    const auto added = y.Row(t);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += added[i] * scale;
  });
  return x;
}

Tensor CpuRowOps::Multiply(const Tensor& x, const Linear& linear) {
  Tensor y = NewTensor(x.rows(), linear.out());
  const LinearProduct part{&linear, y.data()};
  Status outcome = product_.Run(x.data(), x.rows(), {&part, 1}, *context_.pool);
  return Finished(std::move(outcome), std::move(y));
}

Tensor CpuRowOps::Rotate(Tensor x, const Rotation& rotation) {
  const int64_t half = rotation.cos.width();
  const auto rotate = context_.table->rows.rotate;
  ForRows(x.rows(), [&](int64_t t) {
    const auto cos = rotation.cos.Row(t);
    const auto sin = rotation.sin.Row(t);
    for (int64_t head = 0; head < x.width(); head += 2 * half) {
      rotate(x.Row(t).data() + head, cos.data(), sin.data(), half);
    }
  });
  return x;
}

Tensor CpuRowOps::FromHost(std::span<const float> values, int64_t width) {
  Tensor x = NewTensor(static_cast<int64_t>(values.size()) / width, width);
  std::ranges::copy(values, x.data());
  return x;
}

Status CpuRowOps::Fetch(const Tensor& x, std::span<float> values) {
  EXPERTILE_RETURN_IF_ERROR(std::exchange(failure_, {}));
  std::ranges::copy(x.values(), values.begin());
  return {};
}

}  // namespace expertile::cpu
