// The reference target's ops of a vision tower.
// Not the decoder's: reference_ops.h.
#pragma once

#include <span>

#include "base/error.h"
#include "model/vision_spec.h"
#include "targets/reference/row_ops.h"

namespace expertile::reference {

class ReferenceVisionOps : public ReferenceRowOps {
 public:
  using ReferenceRowOps::ReferenceRowOps;
  static Result<ReferenceVisionOps> Create(const VisionSpec&, const Context& context, int64_t) {
    return ReferenceVisionOps(context);
  }

  Tensor WeightedRows(const Embedding& table, std::span<const int32_t> indices,
                      std::span<const float> weights, int64_t per_row) const;
  Tensor LayerNorm(const Tensor& x, const Vector& weight, const Vector& bias, float epsilon) const;
  Tensor Gelu(Tensor x, GeluKind kind) const;
  Tensor SegmentAttention(const Tensor& query, const Tensor& key, const Tensor& value,
                          int num_heads, float scale, int64_t segment_size) const;
  Tensor JoinRows(const Tensor& x, int64_t count) const {
    return {x.rows / count, x.width * count, x.values};
  }
};

}  // namespace expertile::reference
