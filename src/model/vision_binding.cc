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
