#include "model/vision_checkpoint.h"

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/rope_config.h"
#include "model/weight_binding.h"

namespace expertile {
namespace {

// Pairs of the first half of a head turn by the patch's row, those of the second by its column.
RopeSpec VisionRope(double theta, int64_t head_dim) {
  RopeSpec rope;
  rope.num_axes = 2;
  const int64_t num_frequencies = head_dim / 4;
  const int64_t axis_dim = head_dim / 2;  // of a head's elements, those that one axis turns
  for (int axis = 0; axis < rope.num_axes; ++axis) {
    for (int64_t j = 0; j < num_frequencies; ++j) {
      const float exponent = static_cast<float>(2 * j) / static_cast<float>(axis_dim);
      rope.inv_freq.push_back(1.0f / std::pow(static_cast<float>(theta), exponent));
      rope.axes.push_back(axis);
    }
  }
  return rope;
}

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

// The outputs [first, first + count) of a linear.
Result<LinearView> OutputsOf(const LinearView& linear, int64_t first, int64_t count) {
  LinearView part;
  EXPERTILE_ASSIGN(part.weight, linear.weight.Rows(first, count));
  EXPERTILE_ASSIGN(const MatrixView bias, linear.bias->Transposed().Rows(first, count));
  part.bias = bias.Transposed();
  return part;
}

// Query, key and value, which a checkpoint has as one.
Status SplitAttention(const VisionSpec& spec, const CheckpointTensors& tensors,
                      const std::string& name, VisionBlockWeights<CheckpointViews>& block) {
  const int64_t V = spec.hidden_size;
  EXPERTILE_ASSIGN(const LinearView qkv, BindLinear(tensors, name, 3 * V, V, /*has_bias=*/true));
  EXPERTILE_ASSIGN(block.query, OutputsOf(qkv, 0, V));
  EXPERTILE_ASSIGN(block.key, OutputsOf(qkv, V, V));
  EXPERTILE_ASSIGN(block.value, OutputsOf(qkv, 2 * V, V));
  return {};
}

}  // namespace

Result<VisionSpec> ReadVisionConfig(const JsonObject& vision) {
  constexpr Bounds<int64_t> kSize = {1, kMaxDimension};
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(vision, "gelu_pytorch_tanh"));
  EXPERTILE_RETURN_IF_ERROR(vision.RefuseNull(
      {"in_channels", "patch_size", "temporal_patch_size", "hidden_size", "intermediate_size",
       "out_hidden_size", "num_position_embeddings", "deepstack_visual_indexes"}));
  VisionSpec spec;
  EXPERTILE_ASSIGN(const int64_t channels, vision.GetInt("in_channels", 3, {3, 3}));
  EXPERTILE_ASSIGN(const int64_t patch, vision.GetInt("patch_size", 16, {1, 1024}));
  EXPERTILE_ASSIGN(const int64_t frames, vision.GetInt("temporal_patch_size", 2, {1, 64}));
  spec.patch_values = channels * frames * patch * patch;
  EXPERTILE_ASSIGN(spec.hidden_size, vision.GetInt("hidden_size", 1152, kSize));
  EXPERTILE_ASSIGN(spec.intermediate_size, vision.GetInt("intermediate_size", 4304, kSize));
  EXPERTILE_ASSIGN(spec.output_size, vision.GetInt("out_hidden_size", 3584, kSize));
  EXPERTILE_ASSIGN(spec.num_blocks,
                   GetAliasedInt(vision, "depth", "num_hidden_layers", 27, {1, kMaxLayers}));
  EXPERTILE_ASSIGN(spec.num_heads,
                   GetAliasedInt(vision, "num_heads", "num_attention_heads", 16, {1, 65536}));
  if (spec.hidden_size % (4 * spec.num_heads) != 0) {
    return InvalidData(
        "config.json: vision_config.hidden_size: {}, expected a multiple of 4 x num_heads, {}",
        spec.hidden_size, spec.num_heads);
  }
  EXPERTILE_ASSIGN(const int64_t grid, vision.GetInt("num_position_embeddings", 2304, kSize));
  spec.grid_side = std::llround(std::sqrt(static_cast<double>(grid)));
  if (spec.grid_side * spec.grid_side != grid) {
    return InvalidData("config.json: vision_config.num_position_embeddings: {}, expected a square",
                       grid);
  }
  std::vector<int64_t> tapped = {8, 16, 24};
  if (vision.Has("deepstack_visual_indexes")) {
    EXPERTILE_ASSIGN(tapped,
                     vision.GetIntList("deepstack_visual_indexes", {0, spec.num_blocks - 1}));
  }
  spec.deepstack_blocks.assign(tapped.begin(), tapped.end());
  EXPERTILE_ASSIGN(const double theta, ReadAxialTheta(vision));
  spec.rope = VisionRope(theta, spec.head_dim());
  return spec;
}

Result<VisionViews> BindVisionTower(const VisionSpec& spec, const CheckpointTensors& tensors,
                                    const std::string& prefix) {
  VisionViews views;
  EXPERTILE_RETURN_IF_ERROR(VisitWeights(spec, TableBinder(tensors, prefix), views));
  EXPERTILE_ASSIGN(views.patch_embedding, BindPatchEmbedding(tensors, prefix + "patch_embed.proj",
                                                             spec.hidden_size, spec.patch_values));
  for (int b = 0; b < spec.num_blocks; ++b) {
    const std::string name = prefix + "blocks." + std::to_string(b) + ".attn.qkv";
    EXPERTILE_RETURN_IF_ERROR(SplitAttention(spec, tensors, name, views.blocks[b]));
  }
  return views;
}

}  // namespace expertile
