#include "targets/cpu/vision_ops.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

namespace expertile::cpu {
namespace {

float GeluErf(float x) { return 0.5f * x * (1.0f + std::erf(x / std::numbers::sqrt2_v<float>)); }

}  // namespace

Result<CpuVisionOps> CpuVisionOps::Create(const VisionSpec& spec, const Context& context,
                                          int64_t num_patches) {
  const int64_t max_in = std::max({spec.patch_values, spec.intermediate_size, spec.merged_size()});
  EXPERTILE_ASSIGN(CpuRowOps rows, CpuRowOps::Create(context, num_patches, max_in));
  const ComputeType type = ComputeTypeOf(context.options);
  const bool rounds = type == ComputeType::kBFloat16;  // keys and values, as they enter a product
  EXPERTILE_ASSIGN(KvCache cache,
                   KvCache::Create({CeilDiv(num_patches, kKvBlockSize), spec.num_heads,
                                    spec.head_dim(), context.table->panel_columns,
                                    rounds ? KvFormat::kBFloat16 : KvFormat::kFloat32}));
  EXPERTILE_ASSIGN(BlockAttention attention,
                   BlockAttention::Create(*context.table, type, cache, context.pool->size()));
  return CpuVisionOps(std::move(rows), std::move(cache), std::move(attention));
}

Tensor CpuVisionOps::WeightedRows(const Embedding& table, std::span<const int32_t> indices,
                                  std::span<const float> weights, int64_t per_row) {
  Tensor y = NewTensor(static_cast<int64_t>(indices.size()) / per_row, table.cols);
  ForRows(y.rows(), [&](int64_t t) {
    const auto sum = y.Row(t);
    std::vector<float> row(sum.size());
    std::ranges::fill(sum, 0.0f);
    for (int64_t i = t * per_row; i < (t + 1) * per_row; ++i) {
      table.ReadRow(indices[i], row);
      for (size_t j = 0; j < sum.size(); ++j) sum[j] += row[j] * weights[i];
    }
  });
  return y;
}

Tensor CpuVisionOps::LayerNorm(const Tensor& x, const Vector& weight, const Vector& bias,
                               float epsilon) {
  Tensor y = NewTensor(x.rows(), x.width());
  ForRows(x.rows(), [&](int64_t t) {
    context_.table->rows.layer_norm(x.Row(t).data(), weight.data(), bias.data(), x.width(), epsilon,
                                    y.Row(t).data());
  });
  return y;
}

Tensor CpuVisionOps::Gelu(Tensor x, GeluKind kind) {
  ForRows(x.rows(), [&](int64_t t) {
    if (kind == GeluKind::kTanh) return context_.table->rows.gelu_tanh(x.Row(t).data(), x.width());
    for (float& value : x.Row(t)) value = GeluErf(value);
  });
  return x;
}

// Causal attention over a cache in which every query stands at its segment's last position.
Tensor CpuVisionOps::SegmentAttention(const Tensor& query, const Tensor& key, const Tensor& value,
                                      int num_heads, float scale, int64_t segment_size) {
  const int64_t D = query.width() / num_heads;
  Tensor mixed = NewTensor(query.rows(), query.width());
  const std::vector<int32_t> sequences(segment_size, 0);
  const std::vector<int32_t> positions(segment_size, static_cast<int32_t>(segment_size - 1));
  std::vector<int32_t> in_order(cache_.shape().num_blocks);
  std::iota(in_order.begin(), in_order.end(), 0);
  const BlockTable blocks = in_order;
  for (int64_t first = 0; first < query.rows(); first += segment_size) {
    const int64_t num_blocks = CeilDiv(segment_size, kKvBlockSize);
    context_.pool->ForEach(num_heads * num_blocks, [&](int64_t piece, int) {
      const int64_t head = piece % num_heads;
      const int64_t begin = piece / num_heads * kKvBlockSize;
      for (int64_t t = begin; t < std::min(begin + kKvBlockSize, segment_size); ++t) {
        cache_.Write(blocks, static_cast<int>(head), t, key.Row(first + t).subspan(head * D, D),
                     value.Row(first + t).subspan(head * D, D));
      }
    });
    attention_.Run({.window = 0,
                    .scale = scale,
                    .sinks = nullptr,
                    .query = query.Row(first).data(),
                    .num_heads = num_heads,
                    .sequences = sequences,
                    .positions = positions,
                    .block_tables = {&blocks, 1},
                    .mixed = mixed.Row(first).data()},
                   cache_, *context_.pool);
  }
  return mixed;
}

Tensor CpuVisionOps::JoinRows(const Tensor& x, int64_t count) {
  return FromHost(x.values(), x.width() * count);
}

}  // namespace expertile::cpu
