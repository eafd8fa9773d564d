#include "model/vision_config.h"

#include <cmath>
#include <vector>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/rope_config.h"

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

}  // namespace expertile
