#include "targets/reference/row_ops.h"

#include <algorithm>
#include <cmath>

#include "targets/reference/arithmetic.h"

namespace expertile::reference {

// The angle is rounded to float before cos and sin, as checkpoints' own framework computes it.
Rotation ReferenceRowOps::RotationOf(const RopeSpec& rope,
                                     std::span<const int32_t> positions) const {
  const auto num_pairs = static_cast<int64_t>(rope.inv_freq.size());
  const auto num_rows = static_cast<int64_t>(positions.size()) / rope.num_axes;
  Rotation rotation{Tensor::Zeros(num_rows, num_pairs), Tensor::Zeros(num_rows, num_pairs)};
  for (int64_t t = 0; t < num_rows; ++t) {
    for (int64_t j = 0; j < num_pairs; ++j) {
      const auto position = static_cast<float>(positions[rope.AxisOf(j) * num_rows + t]);
      const float angle = position * rope.inv_freq[j];
      rotation.cos.Row(t)[j] = std::cos(angle) * rope.table_scale;
      rotation.sin.Row(t)[j] = std::sin(angle) * rope.table_scale;
    }
  }
  return rotation;
}

Tensor ReferenceRowOps::Scale(Tensor x, float scale) const {
  for (float& value : x.values) value *= scale;
  return x;
}

Tensor ReferenceRowOps::AddScaled(Tensor x, const Tensor& y, float scale) const {
  for (size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i] * scale;
  return x;
}

Tensor ReferenceRowOps::Multiply(const Tensor& x, const Linear& linear) const {
  Tensor y = Tensor::Zeros(x.rows, linear.weight.rows);
  pool().ForEach(x.rows, [&](int64_t row, int) { MultiplyRow(x.Row(row), linear, y.Row(row)); });
  return y;
}

Tensor ReferenceRowOps::Rotate(Tensor x, const Rotation& rotation) const {
  const int64_t half = rotation.cos.width;
  for (int64_t t = 0; t < x.rows; ++t) {
    const auto cos = rotation.cos.Row(t);
    const auto sin = rotation.sin.Row(t);
    for (int64_t head = 0; head < x.width; head += 2 * half) {
      const auto first = x.Row(t).subspan(head, half);
      const auto second = x.Row(t).subspan(head + half, half);
      for (int64_t j = 0; j < half; ++j) {
        const float x1 = first[j];
        const float x2 = second[j];
        first[j] = x1 * cos[j] - x2 * sin[j];
        second[j] = x2 * cos[j] + x1 * sin[j];
      }
    }
  }
  return x;
}

}  // namespace expertile::reference
