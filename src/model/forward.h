// The forward pass, written once: embeddings, decoder layers, logits. It names no model family and
// no target. Not the loop over tokens or chunks (running/).
#pragma once

#include <utility>
#include <variant>

#include "model/decoder_spec.h"
#include "model/decoder_weights.h"
#include "model/finite_rows.h"
#include "model/ops.h"

namespace expertile {

// What a branch of a layer knows beside its weights.
template <Ops O>
struct LayerInput {
  const DecoderSpec& decoder;
  int index;  // of the layer
  const typename O::Inputs& inputs;
  const typename O::Rotation& rotation;
};

// x [T,H] (normed) -> the mixer's branch [T,H]; one overload for each alternative of MixerSpec.
template <Ops O>
typename O::Tensor MixerBranch(O& ops, const AttentionSpec& spec, const AttentionWeights<O>& w,
                               const LayerInput<O>& layer, const typename O::Tensor& x) {
  // [T, heads D], [T, kv_heads D], [T, kv_heads D]
  auto [query, key, value] = ops.MultiplyThree(x, w.query, w.key, w.value);
  if (spec.query_key_norm) {
    query = ops.RmsNorm(query, w.query_norm, layer.decoder.norm_epsilon);
    key = ops.RmsNorm(key, w.key_norm, layer.decoder.norm_epsilon);
  }
  query = ops.Rotate(std::move(query), layer.rotation);
  key = ops.Rotate(std::move(key), layer.rotation);
  const auto mixed = ops.Attention(layer.index, spec, layer.inputs, query, key, value,
                                   spec.has_sinks ? &w.sinks : nullptr);  // [T, heads D]
  return ops.Multiply(mixed, w.output);
}

// x [T,H] (normed) -> the MLP's branch [T,H]; one overload for each alternative of LayerMlpSpec.
template <Ops O>
typename O::Tensor MlpBranch(O& ops, const MlpSpec& spec, const MlpWeights<O>& w, int,
                             const typename O::Inputs&, const typename O::Tensor& x) {
  return ops.GatedMlp(x, w.mlp, spec.gated);
}

template <Ops O>
typename O::Tensor MlpBranch(O& ops, const MoeSpec& spec, const MoeWeights<O>& w, int index,
                             const typename O::Inputs& inputs, const typename O::Tensor& x) {
  const auto routing = ops.Route(x, w.router, spec.router, inputs);
  auto y = ops.Moe(x, routing, w.experts, spec.gated);
  if (spec.shared) {
    const auto shared = ops.GatedMlp(x, w.shared, spec.gated);
    y = spec.shared->has_gate ? ops.AddGated(std::move(y), shared, x, w.shared_gate)
                              : ops.AddScaled(std::move(y), shared, 1.0f);
  }
  ops.TraceMoe(inputs, index, x, routing, y);
  return y;
}

// The same of layer `index`, whichever alternative it is.
template <Ops O>
typename O::Tensor MlpBranch(O& ops, const DecoderSpec& spec, const DecoderWeights<O>& decoder,
                             int index, const typename O::Inputs& inputs,
                             const typename O::Tensor& x) {
  return std::visit(
      [&]<typename Mlp>(const Mlp& mlp) {
        return MlpBranch(ops, mlp, PartOf<Mlp>(decoder.layers[index].mlp), index, inputs, x);
      },
      spec.layers[index].mlp);
}

// Runs a step, extending the sequences that it names; returns the logits of the wanted rows, [R,V].
template <Ops O>
typename O::Tensor Forward(O& ops, const DecoderSpec& spec, const DecoderWeights<O>& decoder,
                           const typename O::Inputs& inputs) {
  auto hidden = ops.Scale(ops.Embed(decoder.embedding, inputs), spec.embedding_scale);  // [T,H]
  hidden = ops.PlaceImages(std::move(hidden), inputs);
  ops.TraceHidden(inputs, FiniteRows::kInput, hidden);
  const auto rotation = ops.RotationOf(spec.rope, inputs);
  for (int i = 0; i < static_cast<int>(decoder.layers.size()); ++i) {
    if (!ops.GoesOn(inputs)) break;
    const LayerWeights<O>& layer = decoder.layers[i];
    ops.BeginLayer(i);
    const auto mixer_in = ops.RmsNorm(hidden, layer.mixer_norm, spec.norm_epsilon);
    auto mixed = std::visit(
        [&]<typename Mixer>(const Mixer& mixer) {
          return MixerBranch(ops, mixer, PartOf<Mixer>(layer.mixer),
                             LayerInput<O>{spec, i, inputs, rotation}, mixer_in);
        },
        spec.layers[i].mixer);
    hidden = ops.AddScaled(std::move(hidden), mixed, spec.residual_scale);
    const auto mlp_in = ops.RmsNorm(hidden, layer.mlp_norm, spec.norm_epsilon);
    hidden = ops.AddScaled(std::move(hidden), MlpBranch(ops, spec, decoder, i, inputs, mlp_in),
                           spec.residual_scale);
    ops.EndLayer();
    hidden = ops.AddDeepstack(std::move(hidden), i, inputs);
    ops.TraceHidden(inputs, i, hidden);
  }
  const auto last = ops.RmsNorm(ops.WantedRows(hidden, inputs), decoder.final_norm,
                                spec.norm_epsilon);  // [R,H]
  return ops.Scale(ops.Multiply(last, decoder.lm_head), spec.logits_scale);
}

}  // namespace expertile
