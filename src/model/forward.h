// The forward pass, written once: embeddings, decoder layers, logits. It names no model family and
// no target. Not the loop over tokens or chunks (running/).
#pragma once

#include <utility>

#include "model/decoder.h"
#include "model/decoder_spec.h"
#include "model/ops.h"
#include "model/step.h"

namespace expertile {

// x [T,H] (normed) -> the attention branch [T,H].
template <Ops O>
typename O::Tensor AttentionBranch(O& ops, const DecoderSpec& spec, int index,
                                   const DecoderLayer<O>& layer,
                                   const typename O::Rotation& rotation,
                                   const typename O::Tensor& x) {
  auto query = ops.Multiply(x, layer.query);  // [T, heads D]
  auto key = ops.Multiply(x, layer.key);      // [T, kv_heads D]
  auto value = ops.Multiply(x, layer.value);  // [T, kv_heads D]
  const AttentionSpec& attention = AttentionOf(spec.layers[index]);
  if (layer.query_norm) query = ops.RmsNorm(query, *layer.query_norm, spec.norm_epsilon);
  if (layer.key_norm) key = ops.RmsNorm(key, *layer.key_norm, spec.norm_epsilon);
  query = ops.Rotate(std::move(query), rotation);
  key = ops.Rotate(std::move(key), rotation);
  const AttentionArgs args{index, attention.window, attention.scale};
  const auto mixed = ops.Attention(args, query, key, value,
                                   layer.sinks ? &*layer.sinks : nullptr);  // [T, heads D]
  return ops.Multiply(mixed, layer.output);
}

// x [T,H] (normed) -> the MoE branch, or a dense layer's MLP, [T,H].
template <Ops O>
typename O::Tensor MlpBranch(O& ops, const DecoderSpec& spec, int index,
                             const DecoderLayer<O>& layer, const typename O::Tensor& x,
                             MoeTrace* trace) {
  if (const auto* mlp = std::get_if<MlpSpec>(&spec.layers[index].mlp)) {
    return ops.GatedMlp(x, layer.experts, mlp->gated);
  }
  const auto routing = ops.Route(x, *layer.router, spec.moe.router);
  auto y = ops.Moe(x, routing, layer.experts, spec.moe.gated);
  if (trace != nullptr) {
    trace->Record(index, ops.Values(x), ops.Ids(routing), ops.Weights(routing), ops.Values(y));
  }
  return y;
}

// Runs `step`, extending the KV cache that `ops` holds; returns the logits of step.logit_rows,
// [R,V].
template <Ops O>
typename O::Tensor Forward(O& ops, const DecoderSpec& spec, const Decoder<O>& decoder,
                           const Step& step) {
  ops.Begin(step);
  auto hidden = ops.Scale(ops.Embed(decoder.embedding), spec.embedding_scale);  // [T,H]
  const ImageRows& images = step.images;
  if (!images.rows.empty()) {
    hidden = ops.ReplaceRows(std::move(hidden), images.rows,
                             ops.FromHost(images.embeddings, spec.hidden_size));
  }
  const auto rotation = ops.RotationOf(spec.rope, step.rope_positions);
  for (int i = 0; i < static_cast<int>(decoder.layers.size()); ++i) {
    const DecoderLayer<O>& layer = decoder.layers[i];
    ops.BeginLayer(i);
    const auto attention_in = ops.RmsNorm(hidden, layer.attention_norm, spec.norm_epsilon);
    hidden = ops.AddScaled(std::move(hidden),
                           AttentionBranch(ops, spec, i, layer, rotation, attention_in),
                           spec.residual_scale);
    const auto mlp_in = ops.RmsNorm(hidden, layer.mlp_norm, spec.norm_epsilon);
    hidden = ops.AddScaled(std::move(hidden), MlpBranch(ops, spec, i, layer, mlp_in, step.trace),
                           spec.residual_scale);
    ops.EndLayer();
    if (!images.rows.empty() && i < static_cast<int>(images.deepstack.size())) {
      hidden = ops.AddToRows(std::move(hidden), images.rows,
                             ops.FromHost(images.deepstack[i], spec.hidden_size));
    }
  }
  const auto last = ops.RmsNorm(ops.Rows(hidden, step.logit_rows), decoder.final_norm,
                                spec.norm_epsilon);  // [R,H]
  return ops.Scale(ops.Multiply(last, decoder.lm_head), spec.logits_scale);
}

}  // namespace expertile
