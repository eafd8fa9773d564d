#include "targets/onnx/onnx_vision_ops.h"

#include <cmath>
#include <numbers>
#include <vector>

namespace expertile::onnx_target {

OnnxVisionOps::Rotation OnnxVisionOps::RotationOf(const RopeSpec& rope,
                                                  std::span<const int32_t> positions) {
  const auto half = static_cast<int64_t>(rope.inv_freq.size());
  const int64_t D = 2 * half;
  const auto rows = static_cast<int64_t>(positions.size()) / rope.num_axes;
  std::vector<float> cos(rows * D);
  std::vector<float> sin(rows * D);
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t j = 0; j < D; ++j) {
      const auto position = static_cast<float>(positions[rope.AxisOf(j % half) * rows + t]);
      const float angle = position * rope.inv_freq[j % half];
      cos[t * D + j] = std::cos(angle);
      sin[t * D + j] = std::sin(angle);
    }
  }
  graph_.BeginWeight("vision.rope.cos", {rows, 1, D});
  static_cast<void>(graph_.AppendWeight(cos));
  graph_.BeginWeight("vision.rope.sin", {rows, 1, D});
  static_cast<void>(graph_.AppendWeight(sin));
  return {"vision.rope.cos", "vision.rope.sin", D};
}

OnnxVisionOps::Tensor OnnxVisionOps::Scale(Tensor x, float scale) {
  if (scale == 1.0f) return x;
  return {graph_.Node("Mul", {x.name, graph_.Float(scale)}), x.rows, x.width};
}

OnnxVisionOps::Tensor OnnxVisionOps::AddScaled(const Tensor& x, const Tensor& y, float scale) {
  return {graph_.Node("Add", {x.name, Scale(y, scale).name}), x.rows, x.width};
}

OnnxVisionOps::Tensor OnnxVisionOps::Multiply(const Tensor& x, const Linear& linear) {
  std::string y = graph_.Node("MatMul", {x.name, linear.weight});
  if (!linear.bias.empty()) y = graph_.Node("Add", {y, linear.bias});
  return {y, x.rows, linear.out};
}

OnnxVisionOps::Tensor OnnxVisionOps::Rotate(const Tensor& x, const Rotation& rotation) {
  const int64_t D = rotation.head_dim;
  const std::string heads = graph_.Node("Reshape", {x.name, graph_.Ints({x.rows, x.width / D, D})});
  const auto part = [&](int64_t begin, int64_t end) {
    return graph_.Node("Slice",
                       {heads, graph_.Ints({begin}), graph_.Ints({end}), graph_.Ints({2})});
  };
  const std::string turned = graph_.Node(
      "Concat", {graph_.Node("Neg", {part(D / 2, D)}), part(0, D / 2)}, {{"axis", int64_t{2}}});
  const std::string sum = graph_.Node("Add", {graph_.Node("Mul", {heads, rotation.cos}),
                                              graph_.Node("Mul", {turned, rotation.sin})});
  return {graph_.Node("Reshape", {sum, graph_.Ints({x.rows, x.width})}), x.rows, x.width};
}

OnnxVisionOps::Tensor OnnxVisionOps::WeightedRows(const Embedding& table,
                                                  std::span<const int32_t> indices,
                                                  std::span<const float> weights, int64_t per_row) {
  const auto rows = static_cast<int64_t>(indices.size()) / per_row;
  const std::vector<int64_t> flat(indices.begin(), indices.end());
  const std::string taps =
      graph_.Node("Reshape", {graph_.Node("Gather", {table.name, graph_.Ints(flat)}),
                              graph_.Ints({rows, per_row, table.width})});
  graph_.BeginWeight("vision.tap_weights", {rows, per_row});
  static_cast<void>(graph_.AppendWeight(weights));
  return {graph_.Node("Einsum", {taps, "vision.tap_weights"},
                      {{"equation", std::string("tjw,tj->tw")}}),
          rows, table.width};
}

OnnxVisionOps::Tensor OnnxVisionOps::LayerNorm(const Tensor& x, const Vector& weight,
                                               const Vector& bias, float epsilon) {
  return {graph_.Node("LayerNormalization", {x.name, weight.name, bias.name},
                      {{"axis", int64_t{-1}}, {"epsilon", epsilon}}),
          x.rows, x.width};
}

OnnxVisionOps::Tensor OnnxVisionOps::Gelu(const Tensor& x, GeluKind kind) {
  const auto times = [&](const std::string& a, float b) {
    return graph_.Node("Mul", {a, graph_.Float(b)});
  };
  std::string bend;
  if (kind == GeluKind::kErf) {
    bend = graph_.Node("Erf", {times(x.name, 1.0f / std::numbers::sqrt2_v<float>)});
  } else {
    const std::string square = graph_.Node("Mul", {x.name, x.name});
    const std::string cube = times(graph_.Node("Mul", {square, x.name}), 0.044715f);
    const float scale = std::sqrt(2.0f / std::numbers::pi_v<float>);
    bend = graph_.Node("Tanh", {times(graph_.Node("Add", {x.name, cube}), scale)});
  }
  const std::string factor = graph_.Node("Add", {bend, graph_.Float(1.0f)});
  return {graph_.Node("Mul", {times(x.name, 0.5f), factor}), x.rows, x.width};
}

OnnxVisionOps::Tensor OnnxVisionOps::SegmentAttention(const Tensor& query, const Tensor& key,
                                                      const Tensor& value, int num_heads,
                                                      float scale, int64_t segment_size) {
  const int64_t D = query.width / num_heads;
  const std::string shape = graph_.Ints({query.rows / segment_size, segment_size, num_heads, D});
  const auto heads = [&](const Tensor& x, const std::vector<int64_t>& order) {
    return graph_.Node("Transpose", {graph_.Node("Reshape", {x.name, shape})}, {{"perm", order}});
  };
  const std::string scores = graph_.Node(
      "Mul", {graph_.Node("MatMul", {heads(query, {0, 2, 1, 3}), heads(key, {0, 2, 3, 1})}),
              graph_.Float(scale)});
  const std::string mixed = graph_.Node(
      "MatMul",
      {graph_.Node("Softmax", {scores}, {{"axis", int64_t{-1}}}), heads(value, {0, 2, 1, 3})});
  const std::string rows =
      graph_.Node("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  return {graph_.Node("Reshape", {rows, graph_.Ints({query.rows, query.width})}), query.rows,
          query.width};
}

OnnxVisionOps::Tensor OnnxVisionOps::JoinRows(const Tensor& x, int64_t count) {
  const int64_t rows = x.rows / count;
  return {graph_.Node("Reshape", {x.name, graph_.Ints({rows, x.width * count})}), rows,
          x.width * count};
}

}  // namespace expertile::onnx_target
