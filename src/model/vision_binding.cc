#include "model/vision_binding.h"

#include <numeric>
#include <utility>

#include "base/error.h"
#include "model/weight_binding.h"

namespace expertile {
namespace {

// A convolution whose kernel is its stride: NAME.weight [out, …] with the rest of its dimensions as
// one of `in`.
Result<LinearView> BindPatchEmbedding(const CheckpointTensors& tensors, const std::string& name,
                                      int64_t out, int64_t in) {
  const std::string weight = name + ".weight";
  const TensorView* found = tensors.Find(weight);
  std::vector<int64_t> shape = {out, in};
  if (found != nullptr && found->shape.size() == 5) {
    const int64_t rest = std::accumulate(found->shape.begin() + 1, found->shape.end(), int64_t{1},
                                         [](int64_t a, int64_t b) { return a * b; });
    if (found->shape[0] == out && rest == in) shape = found->shape;
  }
  EXPERTILE_ASSIGN(TensorView tensor, tensors.Require(weight, shape));
  tensor.shape = {out, in};
  LinearView linear;
  EXPERTILE_ASSIGN(linear.weight, MatrixOf(tensor, weight));
  EXPERTILE_ASSIGN(linear.bias, BindVector(tensors, name + ".bias", out));
  return linear;
}

Result<LayerNormView> BindLayerNorm(const CheckpointTensors& tensors, const std::string& name,
                                    int64_t n) {
  LayerNormView norm;
  EXPERTILE_ASSIGN(norm.weight, BindVector(tensors, name + ".weight", n));
  EXPERTILE_ASSIGN(norm.bias, BindVector(tensors, name + ".bias", n));
  return norm;
}

// The outputs [first, first + count) of a linear.
Result<LinearView> OutputsOf(const LinearView& linear, int64_t first, int64_t count) {
  LinearView part;
  EXPERTILE_ASSIGN(part.weight, linear.weight.Rows(first, count));
  EXPERTILE_ASSIGN(const MatrixView bias, linear.bias->Transposed().Rows(first, count));
  part.bias = bias.Transposed();
  return part;
}

Result<VisionBlockWeights> BindBlock(const VisionSpec& spec, const CheckpointTensors& tensors,
                                     const std::string& name) {
  const int64_t V = spec.hidden_size;
  VisionBlockWeights block;
  EXPERTILE_ASSIGN(block.attention_norm, BindLayerNorm(tensors, name + "norm1", V));
  EXPERTILE_ASSIGN(const LinearView qkv,
                   BindLinear(tensors, name + "attn.qkv", 3 * V, V, /*has_bias=*/true));
  EXPERTILE_ASSIGN(block.query, OutputsOf(qkv, 0, V));
  EXPERTILE_ASSIGN(block.key, OutputsOf(qkv, V, V));
  EXPERTILE_ASSIGN(block.value, OutputsOf(qkv, 2 * V, V));
  EXPERTILE_ASSIGN(block.output, BindLinear(tensors, name + "attn.proj", V, V, /*has_bias=*/true));
  EXPERTILE_ASSIGN(block.mlp_norm, BindLayerNorm(tensors, name + "norm2", V));
  EXPERTILE_ASSIGN(block.up, BindLinear(tensors, name + "mlp.linear_fc1", spec.intermediate_size, V,
                                        /*has_bias=*/true));
  EXPERTILE_ASSIGN(block.down, BindLinear(tensors, name + "mlp.linear_fc2", V,
                                          spec.intermediate_size, /*has_bias=*/true));
  return block;
}

Result<VisionMergerWeights> BindMerger(const VisionSpec& spec, const CheckpointTensors& tensors,
                                       const std::string& name, int64_t norm_size) {
  const int64_t merged = spec.merged_size();
  VisionMergerWeights merger;
  EXPERTILE_ASSIGN(merger.norm, BindLayerNorm(tensors, name + "norm", norm_size));
  EXPERTILE_ASSIGN(merger.up,
                   BindLinear(tensors, name + "linear_fc1", merged, merged, /*has_bias=*/true));
  EXPERTILE_ASSIGN(merger.down, BindLinear(tensors, name + "linear_fc2", spec.output_size, merged,
                                           /*has_bias=*/true));
  return merger;
}

}  // namespace

Result<VisionWeights> BindVisionTower(const VisionSpec& spec, const CheckpointTensors& tensors,
                                      const std::string& prefix) {
  VisionWeights weights;
  EXPERTILE_ASSIGN(weights.patch_embedding,
                   BindPatchEmbedding(tensors, prefix + "patch_embed.proj", spec.hidden_size,
                                      spec.patch_values));
  EXPERTILE_ASSIGN(weights.position_embedding,
                   BindMatrix(tensors, prefix + "pos_embed.weight", spec.grid_side * spec.grid_side,
                              spec.hidden_size));
  for (int b = 0; b < spec.num_blocks; ++b) {
    const std::string name = prefix + "blocks." + std::to_string(b) + ".";
    EXPERTILE_ASSIGN(VisionBlockWeights block, BindBlock(spec, tensors, name));
    weights.blocks.push_back(std::move(block));
  }
  for (size_t i = 0; i < spec.deepstack_blocks.size(); ++i) {
    const std::string name = prefix + "deepstack_merger_list." + std::to_string(i) + ".";
    EXPERTILE_ASSIGN(VisionMergerWeights merger,
                     BindMerger(spec, tensors, name, spec.merged_size()));
    weights.deepstack.push_back(std::move(merger));
  }
  EXPERTILE_ASSIGN(weights.merger, BindMerger(spec, tensors, prefix + "merger.", spec.hidden_size));
  return weights;
}

}  // namespace expertile
