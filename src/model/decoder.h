// Decoder<Ops>: a decoder's weights as one target prepared them, and Prepare(), which makes it from
// checkpoint views. Not the views themselves (model/decoder_weights.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "expertile/progress.h"
#include "model/decoder_spec.h"
#include "model/decoder_weights.h"

namespace expertile {

template <typename O>
struct DecoderLayer {
  typename O::Vector attention_norm;             // [H]
  typename O::Linear query;                      // [heads D, H]
  typename O::Linear key;                        // [kv_heads D, H]
  typename O::Linear value;                      // [kv_heads D, H]
  typename O::Linear output;                     // [H, heads D]
  std::optional<typename O::Vector> query_norm;  // [D]
  std::optional<typename O::Vector> key_norm;    // [D]
  std::optional<typename O::Vector> sinks;       // [heads]
  typename O::Vector mlp_norm;                   // [H]
  std::optional<typename O::Linear> router;      // [E,H]; none in a dense layer
  typename O::Experts experts;                   // E experts, or the one dense MLP
};

template <typename O>
struct Decoder {
  typename O::Embedding embedding;  // [V,H]
  std::vector<DecoderLayer<O>> layers;
  typename O::Vector final_norm;  // [H]
  typename O::Linear lm_head;     // [V,H]
};

// Passes every weight to the target's `packer` once, in the order of the forward pass, under its
// name in a program ("layers.3.query"). A Packer has
//   Status BeginGroup(name): what follows belongs together ("layers.3"),
//   Result<O::Vector> PackVector(name, view), Result<O::Linear> PackLinear(name, view),
//   Result<O::Linear> PackRouter(name, view), Result<O::Linear> PackHead(name, view),
//   Result<O::Embedding> PackEmbedding(name, view), Result<O::Experts> PackExperts(name, views).
// One layer is read at a time, so a packer that writes to disk needs memory for one layer only.
template <typename O, typename Packer>
Result<DecoderLayer<O>> PrepareLayer(const LayerWeights& weights, const std::string& name,
                                     Packer& packer) {
  const auto optional_vector = [&](const std::optional<MatrixView>& view,
                                   const char* part) -> Result<std::optional<typename O::Vector>> {
    if (!view) return std::optional<typename O::Vector>();
    EXPERTILE_ASSIGN(auto vector, packer.PackVector(name + part, *view));
    return std::optional(std::move(vector));
  };
  DecoderLayer<O> layer;
  EXPERTILE_ASSIGN(layer.attention_norm,
                   packer.PackVector(name + "attention_norm", weights.attention_norm));
  EXPERTILE_ASSIGN(layer.query, packer.PackLinear(name + "query", weights.query));
  EXPERTILE_ASSIGN(layer.key, packer.PackLinear(name + "key", weights.key));
  EXPERTILE_ASSIGN(layer.value, packer.PackLinear(name + "value", weights.value));
  EXPERTILE_ASSIGN(layer.output, packer.PackLinear(name + "output", weights.output));
  EXPERTILE_ASSIGN(layer.query_norm, optional_vector(weights.query_norm, "query_norm"));
  EXPERTILE_ASSIGN(layer.key_norm, optional_vector(weights.key_norm, "key_norm"));
  EXPERTILE_ASSIGN(layer.sinks, optional_vector(weights.sinks, "sinks"));
  EXPERTILE_ASSIGN(layer.mlp_norm, packer.PackVector(name + "mlp_norm", weights.mlp_norm));
  if (weights.router) {
    EXPERTILE_ASSIGN(layer.router, packer.PackRouter(name + "router", *weights.router));
  }
  EXPERTILE_ASSIGN(layer.experts, packer.PackExperts(name + "experts", weights.experts));
  return layer;
}

// `on_layer` (may be empty) is told (layers done, layers) after each.
template <typename O, typename Packer>
Result<Decoder<O>> Prepare(const DecoderWeights& weights, Packer& packer,
                           const OnProgress& on_layer) {
  Decoder<O> decoder;
  EXPERTILE_RETURN_IF_ERROR(packer.BeginGroup("embedding"));
  EXPERTILE_ASSIGN(decoder.embedding, packer.PackEmbedding("embedding", weights.embedding));
  decoder.layers.reserve(weights.layers.size());
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const std::string name = "layers." + std::to_string(i);
    EXPERTILE_RETURN_IF_ERROR(packer.BeginGroup(name));
    EXPERTILE_ASSIGN(auto layer, (PrepareLayer<O>(weights.layers[i], name + ".", packer)));
    decoder.layers.push_back(std::move(layer));
    if (on_layer)
      on_layer(static_cast<int64_t>(i) + 1, static_cast<int64_t>(weights.layers.size()));
  }
  EXPERTILE_RETURN_IF_ERROR(packer.BeginGroup("head"));
  EXPERTILE_ASSIGN(decoder.final_norm, packer.PackVector("final_norm", weights.final_norm));
  EXPERTILE_ASSIGN(decoder.lm_head, packer.PackHead("lm_head", weights.lm_head));
  return decoder;
}

}  // namespace expertile
