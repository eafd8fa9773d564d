// The forward pass, written once: embeddings, decoder layers, logits. It names no model family and
// no target. Not the loop over tokens or chunks (running/).
#pragma once

#include <utility>

#include "model/decoder.h"
#include "model/decoder_spec.h"
#include "model/ops.h"

namespace expertile {

// x [T,H] (normed) -> the attention branch [T,H].
template <Ops O>
typename O::Tensor AttentionBranch(O& ops, const DecoderSpec& spec, int index,
                                   const DecoderLayer<O>& layer, const typename O::Inputs& inputs,
                                   const typename O::Rotation& rotation,
                                   const typename O::Tensor& x) {
  // [T, heads D], [T, kv_heads D], [T, kv_heads D]
  auto [query, key, value] = ops.MultiplyThree(x, layer.query, layer.key, layer.value);
  if (layer.query_norm) query = ops.RmsNorm(query, *layer.query_norm, spec.norm_epsilon);
  if (layer.key_norm) key = ops.RmsNorm(key, *layer.key_norm, spec.norm_epsilon);
  query = ops.Rotate(std::move(query), rotation);
  key = ops.Rotate(std::move(key), rotation);
  const auto mixed = ops.Attention(index, AttentionOf(spec.layers[index]), inputs, query, key,
                                   value, layer.sinks ? &*layer.sinks : nullptr);  // [T, heads D]
  return ops.Multiply(mixed, layer.output);
}

// x [T,H] (normed) -> the MoE branch, or a dense layer's MLP, [T,H].
template <Ops O>
typename O::Tensor MlpBranch(O& ops, const DecoderSpec& spec, int index,
                             const DecoderLayer<O>& layer, const typename O::Inputs& inputs,
                             const typename O::Tensor& x) {
  if (const auto* mlp = std::get_if<MlpSpec>(&spec.layers[index].mlp)) {
    return ops.GatedMlp(x, layer.experts, mlp->gated);
  }
  const auto routing = ops.Route(x, *layer.router, spec.moe.router, inputs);
  auto y = ops.Moe(x, routing, layer.experts, spec.moe.gated);
  ops.Trace(inputs, index, x, routing, y);
  return y;
}

// Runs a step, extending the sequences that it names; returns the logits of the wanted rows, [R,V].
template <Ops O>
typename O::Tensor Forward(O& ops, const DecoderSpec& spec, const Decoder<O>& decoder,
                           const typename O::Inputs& inputs) {
  auto hidden = ops.Scale(ops.Embed(decoder.embedding, inputs), spec.embedding_scale);  // [T,H]
  hidden = ops.PlaceImages(std::move(hidden), inputs);
  const auto rotation = ops.RotationOf(spec.rope, inputs);
  for (int i = 0; i < static_cast<int>(decoder.layers.size()); ++i) {
    const DecoderLayer<O>& layer = decoder.layers[i];
    ops.BeginLayer(i);
    const auto attention_in = ops.RmsNorm(hidden, layer.attention_norm, spec.norm_epsilon);
    hidden = ops.AddScaled(std::move(hidden),
                           AttentionBranch(ops, spec, i, layer, inputs, rotation, attention_in),
                           spec.residual_scale);
    const auto mlp_in = ops.RmsNorm(hidden, layer.mlp_norm, spec.norm_epsilon);
    hidden = ops.AddScaled(std::move(hidden), MlpBranch(ops, spec, i, layer, inputs, mlp_in),
                           spec.residual_scale);
    ops.EndLayer();
    hidden = ops.AddDeepstack(std::move(hidden), i, inputs);
  }
  const auto last = ops.RmsNorm(ops.WantedRows(hidden, inputs), decoder.final_norm,
                                spec.norm_epsilon);  // [R,H]
  return ops.Scale(ops.Multiply(last, decoder.lm_head), spec.logits_scale);
}

}  // namespace expertile
