// What a target must be able to do for the forward passes (model/forward.h, model/vision_forward.h)
// to run on it, as concepts. Not an implementation: those are targets/*. The reference target's is
// the definition where words fall short.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>
#include <utility>

#include "expertile/result.h"
#include "model/decoder_spec.h"
#include "model/step.h"

namespace expertile {

enum class GeluKind {
  kTanh,  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  kErf,   // x/2 (1 + erf(x / sqrt(2)))
};

// Ops on rows that are independent of each other. Types: Tensor is an activation [T, width] that
// can be moved; Linear, Vector and Embedding are weights as the target prepared them; Rotation
// holds the cos and sin rows of a step. What an op needs is allocated and checked when the
// program and the session are made; a target whose ops can yet fail gives zeros and keeps the first
// failure for the end of the step (ComputingOps). Arguments taken by value are consumed: a target
// may work in place.
template <typename O>
concept RowOps = std::movable<typename O::Tensor> &&
    requires(O ops, float scale, typename O::Tensor x, const typename O::Tensor& y,
             const typename O::Linear& linear, const typename O::Rotation& rotation) {
  { ops.Scale(std::move(x), scale) } -> std::same_as<typename O::Tensor>;
  // x + y * scale, element by element.
  { ops.AddScaled(std::move(x), y, scale) } -> std::same_as<typename O::Tensor>;
  // [T,in] -> [T,out], bias included.
  { ops.Multiply(y, linear) } -> std::same_as<typename O::Tensor>;
  // Rotates every head of D elements.
  { ops.Rotate(std::move(x), rotation) } -> std::same_as<typename O::Tensor>;
};

// The ops of a decoder. Inputs is a step as the target has it: what the rows are, and where their
// keys and values go. Mlp and Experts are weights; Routing is a routing table with weights.
template <typename O>
concept Ops = RowOps<O> &&
    requires(O ops, const typename O::Inputs& inputs, int index, const RopeSpec& rope,
             const RouterSpec& router_spec, const GatedMlpSpec& mlp_spec,
             const AttentionSpec& attention, float scale, typename O::Tensor x,
             const typename O::Tensor& y, const typename O::Linear& linear,
             const typename O::Vector& vector, const typename O::Embedding& embedding,
             const typename O::Experts& experts, const typename O::Mlp& mlp,
             const typename O::Routing& routing, const typename O::Vector* sinks) {
  // Whether the step goes on. After a no its logits are not those of the model, and are not used.
  { ops.GoesOn(inputs) } -> std::same_as<bool>;
  // The decoder layer that all ops until EndLayer belong to.
  {ops.BeginLayer(index)};
  {ops.EndLayer()};
  { ops.Embed(embedding, inputs) } -> std::same_as<typename O::Tensor>;    // token ids -> [T,H]
  { ops.RotationOf(rope, inputs) } -> std::same_as<typename O::Rotation>;  // cos, sin [T, D/2]
  // x with the image tokens' rows replaced by the image embeddings.
  { ops.PlaceImages(std::move(x), inputs) } -> std::same_as<typename O::Tensor>;
  // x with the deepstack features of layer `index`, if there are such, added to those rows.
  { ops.AddDeepstack(std::move(x), index, inputs) } -> std::same_as<typename O::Tensor>;
  { ops.WantedRows(y, inputs) } -> std::same_as<typename O::Tensor>;  // those of wanted logits
  // Every group of vector.size() elements of a row: x * rsqrt(mean(x^2) + eps) * vector. With the
  // vector [H] that is a row's norm, with [D] every head's.
  { ops.RmsNorm(y, vector, scale) } -> std::same_as<typename O::Tensor>;
  // y through three matrices: query, key and value. A target may make one product of them.
  {
    ops.MultiplyThree(y, linear, linear, linear)
    } -> std::same_as<std::array<typename O::Tensor, 3>>;
  // Writes keys and values to the state of layer `index` at the step's positions, then
  // softmax(q k^T scale) v over the keys that each query sees; sinks (one per head, or null) join
  // the softmax's sum and nothing else. -> [T, num_heads D]
  { ops.Attention(index, attention, inputs, y, y, y, sinks) } -> std::same_as<typename O::Tensor>;
  // Rows that are no tokens have no experts.
  { ops.Route(y, linear, router_spec, inputs) } -> std::same_as<typename O::Routing>;
  // sum over k of weight[t,k] * expert[id[t,k]](x[t]), in the order of the top-k list. -> [T,H]
  { ops.Moe(y, routing, experts, mlp_spec) } -> std::same_as<typename O::Tensor>;
  { ops.GatedMlp(y, mlp, mlp_spec) } -> std::same_as<typename O::Tensor>;  // mlp(x[t])
  // x + y * sigmoid(z linear), row by row; the linear, [1,H], has one output.
  { ops.AddGated(std::move(x), y, y, linear) } -> std::same_as<typename O::Tensor>;
  // Show to the step's observers, if it has any: a MoE layer's input, routing and output; and what
  // leaves layer `index`, or goes into the first (FiniteRows::kInput).
  {ops.TraceMoe(inputs, index, y, routing, y)};
  {ops.TraceHidden(inputs, index, y)};
};

// What a target that computes has beside its ops: how a step gets to it, and how results come back.
template <typename O>
concept ComputingOps = Ops<O> && requires(O ops, const Step& step, int index, BlockTable blocks,
                                          int64_t n, std::span<const float> values, int64_t width,
                                          const typename O::Tensor& y, std::span<float> result) {
  { ops.Begin(step) } -> std::same_as<Result<typename O::Inputs>>;
  // The values of y, and whatever went wrong since Begin: a step ends with the fetch of its logits.
  { ops.Fetch(y, result) } -> std::same_as<Status>;
  // Values as a tensor [values.size() / width, width].
  { ops.FromHost(values, width) } -> std::same_as<typename O::Tensor>;
  // All that block `from` holds, in every layer, goes to block `to`.
  { ops.CopyBlock(int32_t{}, int32_t{}) } -> std::same_as<Status>;
  // Positions 0 to n - 1 in layer `index`: keys and values [kv_heads, n, D].
  { ops.ReadKv(index, blocks, n, result, result) } -> std::same_as<Status>;
  { ops.WriteKv(index, blocks, n, values, values) } -> std::same_as<Status>;
};

// The ops of a vision tower.
template <typename O>
concept VisionOps = RowOps<O> &&
    requires(O ops, const RopeSpec& rope, float scale, int num_heads, int64_t count, GeluKind kind,
             std::span<const int32_t> indices, std::span<const float> values, typename O::Tensor x,
             const typename O::Tensor& y, const typename O::Vector& vector,
             const typename O::Embedding& embedding) {
  // Values from the host, [values.size() / count, count].
  { ops.FromHost(values, count) } -> std::same_as<typename O::Tensor>;
  // positions [A,T] -> cos, sin [T, D/2]
  { ops.RotationOf(rope, indices) } -> std::same_as<typename O::Rotation>;
  // sum over j of weights[t,j] * table[indices[t,j]]; indices and weights [T,n]. -> [T,width]
  { ops.WeightedRows(embedding, indices, values, count) } -> std::same_as<typename O::Tensor>;
  // (x - mean) * rsqrt(variance + eps) * vector + vector over a row; the population's variance.
  { ops.LayerNorm(y, vector, vector, scale) } -> std::same_as<typename O::Tensor>;
  { ops.Gelu(std::move(x), kind) } -> std::same_as<typename O::Tensor>;
  // softmax(q k^T scale) v within each segment of `count` rows that follow each other: every query
  // sees every key of its segment. -> [T, num_heads D]
  { ops.SegmentAttention(y, y, y, num_heads, scale, count) } -> std::same_as<typename O::Tensor>;
  // [T, width] -> [T / count, count * width]: `count` rows become one.
  { ops.JoinRows(y, count) } -> std::same_as<typename O::Tensor>;
};

}  // namespace expertile
