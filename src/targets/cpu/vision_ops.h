// The CPU target's ops of a vision tower, for the patches of one image.
// Not the decoder's: cpu_ops.h.
#pragma once

#include <cstdint>
#include <span>

#include "model/vision_spec.h"
#include "targets/cpu/attention.h"
#include "targets/cpu/row_ops.h"

namespace expertile::cpu {

class CpuVisionOps : public CpuRowOps {
 public:
  // Errors: out of memory.
  static Result<CpuVisionOps> Create(const VisionSpec& spec, const Context& context,
                                     int64_t num_patches);

  Tensor WeightedRows(const Embedding& table, std::span<const int32_t> indices,
                      std::span<const float> weights, int64_t per_row);
  Tensor LayerNorm(const Tensor& x, const Vector& weight, const Vector& bias, float epsilon);
  Tensor Gelu(Tensor x, GeluKind kind);
  Tensor SegmentAttention(const Tensor& query, const Tensor& key, const Tensor& value,
                          int num_heads, float scale, int64_t segment_size);
  Tensor JoinRows(const Tensor& x, int64_t count);

 private:
  CpuVisionOps(CpuRowOps rows, KvCache cache, BlockAttention attention)
      : CpuRowOps(std::move(rows)), cache_(std::move(cache)), attention_(std::move(attention)) {}

  KvCache cache_;  // of one block: a segment is a sequence
  BlockAttention attention_;
};

}  // namespace expertile::cpu
