// VisionWeights: where every weight of a vision tower lies in its checkpoint, as views; a family
// fills it in. VisionTower<Ops>: the same as one target prepared them, and PrepareVision(), which
// makes it. Not a computation (model/vision_forward.h).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/decoder_weights.h"

namespace expertile {

struct LayerNormView {
  MatrixView weight;  // [1,n]
  MatrixView bias;    // [1,n]
};

struct VisionBlockWeights {
  LayerNormView attention_norm;  // [V]
  LinearView query;              // [V,V], as are key, value and output
  LinearView key;
  LinearView value;
  LinearView output;
  LayerNormView mlp_norm;  // [V]
  LinearView up;           // [intermediate_size, V]
  LinearView down;         // [V, intermediate_size]
};

// Joins M x M patches to one row of the decoder.
struct VisionMergerWeights {
  LayerNormView norm;  // [V] before joining, in deepstack mergers [M M V] after it
  LinearView up;       // [M M V, M M V]
  LinearView down;     // [H, M M V]
};

struct VisionWeights {
  LinearView patch_embedding;     // [V, patch_values]
  MatrixView position_embedding;  // [grid_side^2, V]
  std::vector<VisionBlockWeights> blocks;
  std::vector<VisionMergerWeights> deepstack;  // one per deepstack block
  VisionMergerWeights merger;
};

template <typename O>
struct VisionLayerNorm {
  typename O::Vector weight;
  typename O::Vector bias;
};

template <typename O>
struct VisionBlock {
  VisionLayerNorm<O> attention_norm;
  typename O::Linear query;
  typename O::Linear key;
  typename O::Linear value;
  typename O::Linear output;
  VisionLayerNorm<O> mlp_norm;
  typename O::Linear up;
  typename O::Linear down;
};

template <typename O>
struct VisionMerger {
  VisionLayerNorm<O> norm;
  typename O::Linear up;
  typename O::Linear down;
};

template <typename O>
struct VisionTower {
  typename O::Linear patch_embedding;
  typename O::Embedding position_embedding;
  std::vector<VisionBlock<O>> blocks;
  std::vector<VisionMerger<O>> deepstack;
  VisionMerger<O> merger;
};

template <typename O, typename Packer>
Result<VisionLayerNorm<O>> PrepareLayerNorm(const LayerNormView& view, const std::string& name,
                                            Packer& packer) {
  VisionLayerNorm<O> norm;
  EXPERTILE_ASSIGN(norm.weight, packer.PackVector(name + ".weight", view.weight));
  EXPERTILE_ASSIGN(norm.bias, packer.PackVector(name + ".bias", view.bias));
  return norm;
}

template <typename O, typename Packer>
Result<VisionBlock<O>> PrepareVisionBlock(const VisionBlockWeights& weights,
                                          const std::string& name, Packer& packer) {
  VisionBlock<O> block;
  EXPERTILE_ASSIGN(block.attention_norm,
                   (PrepareLayerNorm<O>(weights.attention_norm, name + "attention_norm", packer)));
  EXPERTILE_ASSIGN(block.query, packer.PackVisionLinear(name + "query", weights.query));
  EXPERTILE_ASSIGN(block.key, packer.PackVisionLinear(name + "key", weights.key));
  EXPERTILE_ASSIGN(block.value, packer.PackVisionLinear(name + "value", weights.value));
  EXPERTILE_ASSIGN(block.output, packer.PackVisionLinear(name + "output", weights.output));
  EXPERTILE_ASSIGN(block.mlp_norm,
                   (PrepareLayerNorm<O>(weights.mlp_norm, name + "mlp_norm", packer)));
  EXPERTILE_ASSIGN(block.up, packer.PackVisionLinear(name + "up", weights.up));
  EXPERTILE_ASSIGN(block.down, packer.PackVisionLinear(name + "down", weights.down));
  return block;
}

template <typename O, typename Packer>
Result<VisionMerger<O>> PrepareVisionMerger(const VisionMergerWeights& weights,
                                            const std::string& name, Packer& packer) {
  VisionMerger<O> merger;
  EXPERTILE_ASSIGN(merger.norm, (PrepareLayerNorm<O>(weights.norm, name + "norm", packer)));
  EXPERTILE_ASSIGN(merger.up, packer.PackVisionLinear(name + "up", weights.up));
  EXPERTILE_ASSIGN(merger.down, packer.PackVisionLinear(name + "down", weights.down));
  return merger;
}

// As Prepare() of a decoder (model/decoder.h), with PackVisionLinear(name, view) in the place of
// PackLinear: whatever number format a decoder's matrices get, a tower's keep theirs.
template <typename O, typename Packer>
Result<VisionTower<O>> PrepareVision(const VisionWeights& weights, Packer& packer) {
  VisionTower<O> tower;
  EXPERTILE_RETURN_IF_ERROR(packer.BeginGroup("vision"));
  EXPERTILE_ASSIGN(tower.patch_embedding,
                   packer.PackVisionLinear("vision.patch_embedding", weights.patch_embedding));
  EXPERTILE_ASSIGN(tower.position_embedding,
                   packer.PackEmbedding("vision.position_embedding", weights.position_embedding));
  for (size_t b = 0; b < weights.blocks.size(); ++b) {
    const std::string name = "vision.blocks." + std::to_string(b) + ".";
    EXPERTILE_ASSIGN(auto block, (PrepareVisionBlock<O>(weights.blocks[b], name, packer)));
    tower.blocks.push_back(std::move(block));
  }
  for (size_t i = 0; i < weights.deepstack.size(); ++i) {
    const std::string name = "vision.deepstack." + std::to_string(i) + ".";
    EXPERTILE_ASSIGN(auto merger, (PrepareVisionMerger<O>(weights.deepstack[i], name, packer)));
    tower.deepstack.push_back(std::move(merger));
  }
  EXPERTILE_ASSIGN(tower.merger,
                   (PrepareVisionMerger<O>(weights.merger, "vision.merger.", packer)));
  return tower;
}

}  // namespace expertile
