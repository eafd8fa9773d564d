// The vision tower's forward pass, written once: patches of one image to rows of the decoder
// (docs/vision.md, section 2). It names no target. Not pixels (image/), and not the decoder
// (model/forward.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "image/image_grid.h"
#include "model/ops.h"
#include "model/step.h"
#include "model/vision_positions.h"
#include "model/vision_spec.h"
#include "model/vision_weights.h"

namespace expertile {

// x [P,V] -> the attention branch [P,V]; patches see all patches of their frame.
template <VisionOps O>
typename O::Tensor VisionAttentionBranch(O& ops, const VisionSpec& spec,
                                         const VisionBlockWeights<O>& block,
                                         const typename O::Rotation& rotation, int64_t frame_size,
                                         const typename O::Tensor& x) {
  const auto normed =
      ops.LayerNorm(x, block.attention_norm.weight, block.attention_norm.bias, spec.norm_epsilon);
  const auto query = ops.Rotate(ops.Multiply(normed, block.query), rotation);
  const auto key = ops.Rotate(ops.Multiply(normed, block.key), rotation);
  const auto value = ops.Multiply(normed, block.value);
  const float scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim()));
  const auto mixed = ops.SegmentAttention(query, key, value, spec.num_heads, scale, frame_size);
  return ops.Multiply(mixed, block.output);
}

// x [P,V] -> the MLP branch [P,V].
template <VisionOps O>
typename O::Tensor VisionMlpBranch(O& ops, const VisionSpec& spec,
                                   const VisionBlockWeights<O>& block,
                                   const typename O::Tensor& x) {
  const auto normed =
      ops.LayerNorm(x, block.mlp_norm.weight, block.mlp_norm.bias, spec.norm_epsilon);
  return ops.Multiply(ops.Gelu(ops.Multiply(normed, block.up), GeluKind::kTanh), block.down);
}

// joined [P / M^2, M^2 V], normed -> rows of the decoder [P / M^2, H].
template <VisionOps O>
typename O::Tensor MergePatches(O& ops, const VisionMergerWeights<O>& merger,
                                const typename O::Tensor& joined) {
  return ops.Multiply(ops.Gelu(ops.Multiply(joined, merger.up), GeluKind::kErf), merger.down);
}

template <typename O>
struct VisionRows {
  typename O::Tensor embeddings;              // [P / M^2, H]
  std::vector<typename O::Tensor> deepstack;  // [features] of [P / M^2, H]
};

// patches [P, patch_values] of one image of `grid`. Once `cancellation` says so, the rest is left
// out and the rows mean nothing.
template <VisionOps O>
VisionRows<O> VisionForward(O& ops, const VisionSpec& spec, const VisionWeights<O>& tower,
                            const ImageGrid& grid, const VisionPositions& positions,
                            std::span<const float> patches, StepCancellation& cancellation) {
  std::vector<int32_t> axes = positions.rows;  // [2,P]
  axes.insert(axes.end(), positions.columns.begin(), positions.columns.end());
  const auto rotation = ops.RotationOf(spec.rope, axes);
  const int64_t frame_size = grid.h * grid.w;
  const int64_t per_token = spec.patches_per_token();

  auto hidden = ops.Multiply(ops.FromHost(patches, spec.patch_values), tower.patch_embedding);
  hidden = ops.AddScaled(std::move(hidden),
                         ops.WeightedRows(tower.position_embedding, positions.tap_indices,
                                          positions.tap_weights, kTapsPerPatch),
                         1.0f);  // [P,V]
  std::vector<typename O::Tensor> deepstack;
  for (int b = 0; b < spec.num_blocks && !cancellation.Ask(); ++b) {
    const VisionBlockWeights<O>& block = tower.blocks[b];
    const auto mixed = VisionAttentionBranch(ops, spec, block, rotation, frame_size, hidden);
    hidden = ops.AddScaled(std::move(hidden), mixed, 1.0f);
    const auto transformed = VisionMlpBranch(ops, spec, block, hidden);
    hidden = ops.AddScaled(std::move(hidden), transformed, 1.0f);
    const auto tapped = std::ranges::find(spec.deepstack_blocks, b);
    if (tapped == spec.deepstack_blocks.end()) continue;
    const VisionMergerWeights<O>& merger = tower.deepstack[tapped - spec.deepstack_blocks.begin()];
    const auto joined = ops.JoinRows(hidden, per_token);
    const auto normed =
        ops.LayerNorm(joined, merger.norm.weight, merger.norm.bias, spec.norm_epsilon);
    deepstack.push_back(MergePatches(ops, merger, normed));
  }
  const VisionMergerWeights<O>& merger = tower.merger;
  const auto joined = ops.JoinRows(
      ops.LayerNorm(hidden, merger.norm.weight, merger.norm.bias, spec.norm_epsilon), per_token);
  return {MergePatches(ops, merger, joined), std::move(deepstack)};
}

}  // namespace expertile
