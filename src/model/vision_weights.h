// VisionWeights<W>: the weights of a vision tower, and the one table of them; W as in
// model/decoder_weights.h. Not a computation (model/vision_forward.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/vision_spec.h"
#include "model/weight.h"

namespace expertile {

template <typename W>
struct LayerNormWeights {
  typename W::Vector weight;  // [n]
  typename W::Vector bias;    // [n]
};

template <typename List, typename... Norms>
void ListLayerNorm(const std::string& name, const std::string& tensor, int64_t size, List& list,
                   Norms&... w) {
  list(Weight::Vector(name + ".weight", tensor + ".weight", size), w.weight...);
  list(Weight::Vector(name + ".bias", tensor + ".bias", size), w.bias...);
}

// A matrix of a tower: [out,in] with a bias.
inline Weight VisionMatrix(std::string name, std::string tensor, int64_t out, int64_t in) {
  return {std::move(name), std::move(tensor), WeightRole::kVisionMatrix, out, in, true};
}

template <typename W>
struct VisionBlockWeights {
  LayerNormWeights<W> attention_norm;  // [V]
  typename W::Linear query;            // [V,V], as are key, value and output
  typename W::Linear key;
  typename W::Linear value;
  typename W::Linear output;
  LayerNormWeights<W> mlp_norm;  // [V]
  typename W::Linear up;         // [intermediate_size, V]
  typename W::Linear down;       // [V, intermediate_size]
};

template <typename List, typename... Blocks>
void ListBlock(const VisionSpec& spec, List& list, Blocks&... w) {
  const int64_t V = spec.hidden_size;
  const int64_t I = spec.intermediate_size;
  ListLayerNorm("attention_norm", "norm1", V, list, w.attention_norm...);
  list(VisionMatrix("query", "", V, V), w.query...);  // checkpoints have the three as one
  list(VisionMatrix("key", "", V, V), w.key...);
  list(VisionMatrix("value", "", V, V), w.value...);
  list(VisionMatrix("output", "attn.proj", V, V), w.output...);
  ListLayerNorm("mlp_norm", "norm2", V, list, w.mlp_norm...);
  list(VisionMatrix("up", "mlp.linear_fc1", I, V), w.up...);
  list(VisionMatrix("down", "mlp.linear_fc2", V, I), w.down...);
}

// M x M patches, joined to one row, to a row of the decoder.
template <typename W>
struct VisionMergerWeights {
  LayerNormWeights<W> norm;  // [V] before joining, or [M M V] after
  typename W::Linear up;     // [M M V, M M V]
  typename W::Linear down;   // [H, M M V]
};

template <typename List, typename... Mergers>
void ListMerger(const VisionSpec& spec, int64_t norm_size, List& list, Mergers&... w) {
  const int64_t merged = spec.merged_size();
  ListLayerNorm("norm", "norm", norm_size, list, w.norm...);
  list(VisionMatrix("up", "linear_fc1", merged, merged), w.up...);
  list(VisionMatrix("down", "linear_fc2", spec.output_size, merged), w.down...);
}

template <typename W>
struct VisionWeights {
  typename W::Linear patch_embedding;        // [V, patch_values]
  typename W::Embedding position_embedding;  // [grid_side^2, V]
  std::vector<VisionBlockWeights<W>> blocks;
  std::vector<VisionMergerWeights<W>> deepstack;  // one per deepstack block
  VisionMergerWeights<W> merger;
};

using VisionViews = VisionWeights<CheckpointViews>;

// As VisitWeights() of a decoder; a tower is one group.
template <typename Visitor, typename... Towers>
Status VisitWeights(const VisionSpec& spec, Visitor&& visitor, Towers&... towers) {
  WeightList list(visitor);
  list.BeginGroup("vision");
  list.BeginPart("vision.", "");
  list(VisionMatrix("patch_embedding", "", spec.hidden_size, spec.patch_values),
       towers.patch_embedding...);
  list({"position_embedding", "pos_embed.weight", WeightRole::kEmbedding,
        spec.grid_side * spec.grid_side, spec.hidden_size},
       towers.position_embedding...);
  (WithSize(towers.blocks, spec.num_blocks), ...);
  for (int b = 0; b < spec.num_blocks; ++b) {
    const std::string name = "blocks." + std::to_string(b) + ".";
    list.BeginPart("vision." + name, name);
    ListBlock(spec, list, towers.blocks[b]...);
  }
  (WithSize(towers.deepstack, spec.deepstack_blocks.size()), ...);
  for (size_t i = 0; i < spec.deepstack_blocks.size(); ++i) {
    const std::string index = std::to_string(i) + ".";
    list.BeginPart("vision.deepstack." + index, "deepstack_merger_list." + index);
    ListMerger(spec, spec.merged_size(), list, towers.deepstack[i]...);
  }
  list.BeginPart("vision.merger.", "merger.");
  ListMerger(spec, spec.hidden_size, list, towers.merger...);
  return list.TakeStatus();
}

}  // namespace expertile
