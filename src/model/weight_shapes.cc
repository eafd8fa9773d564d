#include "model/weight_shapes.h"

#include <utility>

namespace expertile {
namespace {

MatrixView Shape(int64_t rows, int64_t cols) { return {.rows = rows, .cols = cols}; }
LinearView LinearShape(int64_t out, int64_t in) { return {Shape(out, in), std::nullopt}; }
LayerNormView NormShape(int64_t size) { return {Shape(1, size), Shape(1, size)}; }

LayerWeights LayerShape(const DecoderSpec& spec, const LayerSpec& layer) {
  const int64_t H = spec.hidden_size;
  const AttentionSpec& attention = AttentionOf(layer);
  const int64_t D = attention.head_dim;
  LayerWeights shapes;
  shapes.attention_norm = Shape(1, H);
  shapes.query = LinearShape(attention.num_heads * D, H);
  shapes.key = LinearShape(attention.num_kv_heads * D, H);
  shapes.value = LinearShape(attention.num_kv_heads * D, H);
  shapes.output = LinearShape(H, attention.num_heads * D);
  if (attention.query_key_norm) shapes.query_norm = shapes.key_norm = Shape(1, D);
  if (attention.has_sinks) shapes.sinks = Shape(1, attention.num_heads);
  shapes.mlp_norm = Shape(1, H);
  if (layer.is_moe()) shapes.router = LinearShape(spec.moe.num_experts, H);
  const int64_t I =
      layer.is_moe() ? spec.moe.intermediate_size : std::get<MlpSpec>(layer.mlp).intermediate_size;
  const ExpertView expert{LinearShape(I, H), LinearShape(I, H), LinearShape(H, I)};
  shapes.experts.assign(layer.is_moe() ? spec.moe.num_experts : 1, expert);
  return shapes;
}

VisionMergerWeights MergerShape(const VisionSpec& spec, int64_t norm_size) {
  const int64_t merged = spec.merged_size();
  return {NormShape(norm_size), LinearShape(merged, merged), LinearShape(spec.output_size, merged)};
}

}  // namespace

DecoderWeights ShapesOf(const DecoderSpec& spec) {
  const int64_t H = spec.hidden_size;
  DecoderWeights shapes;
  shapes.embedding = Shape(spec.vocab_size, H);
  for (const LayerSpec& layer : spec.layers) shapes.layers.push_back(LayerShape(spec, layer));
  shapes.final_norm = Shape(1, H);
  shapes.lm_head = LinearShape(spec.vocab_size, H);
  return shapes;
}

VisionWeights ShapesOf(const VisionSpec& spec) {
  const int64_t V = spec.hidden_size;
  VisionBlockWeights block;
  block.attention_norm = block.mlp_norm = NormShape(V);
  block.query = block.key = block.value = block.output = LinearShape(V, V);
  block.up = LinearShape(spec.intermediate_size, V);
  block.down = LinearShape(V, spec.intermediate_size);
  VisionWeights shapes;
  shapes.patch_embedding = LinearShape(V, spec.patch_values);
  shapes.position_embedding = Shape(spec.grid_side * spec.grid_side, V);
  shapes.blocks.assign(spec.num_blocks, block);
  shapes.deepstack.assign(spec.deepstack_blocks.size(), MergerShape(spec, spec.merged_size()));
  shapes.merger = MergerShape(spec, V);
  return shapes;
}

}  // namespace expertile
