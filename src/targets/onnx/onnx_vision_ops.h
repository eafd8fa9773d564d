// OnnxVisionOps: VisionOps whose calls emit nodes. The patches of one image of a size that is
// known: positions become constants. Not the decoder's: onnx_ops.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "model/ops.h"
#include "targets/onnx/graph_builder.h"
#include "targets/onnx/graph_weights.h"

namespace expertile::onnx_target {

class OnnxVisionOps {
 public:
  struct Tensor {
    std::string name;  // of a value [rows, width]
    int64_t rows = 0;
    int64_t width = 0;
  };
  using Vector = GraphVector;
  using Embedding = GraphTable;
  using Linear = GraphMatrix;
  struct Rotation {
    std::string cos;  // [rows,1,D]
    std::string sin;
    int64_t head_dim = 0;
  };

  explicit OnnxVisionOps(GraphBuilder& graph) : graph_(graph) {}

  Rotation RotationOf(const RopeSpec& rope, std::span<const int32_t> positions);
  Tensor Scale(Tensor x, float scale);
  Tensor AddScaled(const Tensor& x, const Tensor& y, float scale);
  Tensor Multiply(const Tensor& x, const Linear& linear);
  Tensor Rotate(const Tensor& x, const Rotation& rotation);
  Tensor Rows(const Tensor& x, std::span<const int32_t> rows);
  // The graph's input: the patches.
  Tensor FromHost(std::span<const float> values, int64_t width) {
    return {"pixel_values", static_cast<int64_t>(values.size()) / width, width};
  }
  std::span<const float> Values(const Tensor&) const { return {}; }
  Tensor WeightedRows(const Embedding& table, std::span<const int32_t> indices,
                      std::span<const float> weights, int64_t per_row);
  Tensor LayerNorm(const Tensor& x, const Vector& weight, const Vector& bias, float epsilon);
  Tensor Gelu(const Tensor& x, GeluKind kind);
  Tensor SegmentAttention(const Tensor& query, const Tensor& key, const Tensor& value,
                          int num_heads, float scale, int64_t segment_size);
  Tensor JoinRows(const Tensor& x, int64_t count);

 private:
  GraphBuilder& graph_;
};

}  // namespace expertile::onnx_target
