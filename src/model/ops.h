// What a target must be able to do for the forward passes (model/forward.h, model/vision_forward.h)
// to run on it, as concepts. Not an implementation: those are targets/*. The reference target's is
// the definition where words fall short.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <utility>

#include "model/decoder_spec.h"
#include "model/step.h"

namespace expertile {

struct AttentionArgs {
  int layer;       // whose KV cache to extend and read
  int64_t window;  // keys a query sees, itself included; 0 = all before it
  float scale;     // multiplies query-key products
};

enum class GeluKind {
  kTanh,  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  kErf,   // x/2 (1 + erf(x / sqrt(2)))
};

// Ops on rows that are independent of each other. Types: Tensor is an activation [T, width] that
// can be moved; Linear, Vector and Embedding are weights as the target prepared them; Rotation
// holds the cos and sin rows of a step. An op cannot fail: whatever it needs is allocated and
// checked when the program and the session are made. Arguments taken by value are consumed: a
// target may work in place.
template <typename O>
concept RowOps = std::movable<typename O::Tensor> &&
    requires(O ops, const RopeSpec& rope, float scale, std::span<const int32_t> indices,
             std::span<const float> values, int64_t width, typename O::Tensor x,
             const typename O::Tensor& y, const typename O::Linear& linear,
             const typename O::Vector& vector, const typename O::Rotation& rotation) {
  // positions [A,T] -> cos, sin [T, D/2]
  { ops.RotationOf(rope, indices) } -> std::same_as<typename O::Rotation>;
  { ops.Scale(std::move(x), scale) } -> std::same_as<typename O::Tensor>;
  // x + y * scale, element by element.
  { ops.AddScaled(std::move(x), y, scale) } -> std::same_as<typename O::Tensor>;
  // [T,in] -> [T,out], bias included.
  { ops.Multiply(y, linear) } -> std::same_as<typename O::Tensor>;
  // Rotates every head of D elements.
  { ops.Rotate(std::move(x), rotation) } -> std::same_as<typename O::Tensor>;
  { ops.Rows(y, indices) } -> std::same_as<typename O::Tensor>;  // the named rows of y
  // Values from the host, [values.size() / width, width].
  { ops.FromHost(values, width) } -> std::same_as<typename O::Tensor>;
  // Values on the host, valid until the tensor is used again.
  { ops.Values(y) } -> std::same_as<std::span<const float>>;
};

// The ops of a decoder. Mlp and Experts are weights; Routing is a routing table with weights.
template <typename O>
concept Ops = RowOps<O> &&
    requires(O ops, const Step& step, int index, const RouterSpec& router_spec,
             const GatedMlpSpec& mlp_spec, const AttentionArgs& attention, float scale,
             std::span<const int32_t> rows, typename O::Tensor x, const typename O::Tensor& y,
             const typename O::Linear& linear, const typename O::Vector& vector,
             const typename O::Embedding& embedding, const typename O::Experts& experts,
             const typename O::Mlp& mlp, const typename O::Routing& routing,
             const typename O::Vector* sinks) {
  {ops.Begin(step)};  // the step that all ops until the next Begin belong to
  // The decoder layer that all ops until EndLayer belong to.
  {ops.BeginLayer(index)};
  {ops.EndLayer()};
  { ops.Embed(embedding) } -> std::same_as<typename O::Tensor>;  // token_ids -> [T,H]
  // x with the named rows replaced by, or increased by, the rows of y in order.
  { ops.ReplaceRows(std::move(x), rows, y) } -> std::same_as<typename O::Tensor>;
  { ops.AddToRows(std::move(x), rows, y) } -> std::same_as<typename O::Tensor>;
  // Every group of vector.size() elements of a row: x * rsqrt(mean(x^2) + eps) * vector. With the
  // vector [H] that is a row's norm, with [D] every head's.
  { ops.RmsNorm(y, vector, scale) } -> std::same_as<typename O::Tensor>;
  // Writes keys and values to the cache at the step's positions, then softmax(q k^T scale) v over
  // the keys that each query sees; sinks (one per head, or null) join the softmax's sum and nothing
  // else. -> [T, num_heads D]
  { ops.Attention(attention, y, y, y, sinks) } -> std::same_as<typename O::Tensor>;
  { ops.Route(y, linear, router_spec) } -> std::same_as<typename O::Routing>;
  // sum over k of weight[t,k] * expert[id[t,k]](x[t]), in the order of the top-k list. -> [T,H]
  { ops.Moe(y, routing, experts, mlp_spec) } -> std::same_as<typename O::Tensor>;
  { ops.GatedMlp(y, mlp, mlp_spec) } -> std::same_as<typename O::Tensor>;  // mlp(x[t])
  // x + y * sigmoid(z linear), row by row; the linear, [1,H], has one output.
  { ops.AddGated(std::move(x), y, y, linear) } -> std::same_as<typename O::Tensor>;
  // For traces: on the host, valid until the routing is used again.
  { ops.Ids(routing) } -> std::same_as<std::span<const int32_t>>;
  { ops.Weights(routing) } -> std::same_as<std::span<const float>>;
};

// The ops of a vision tower.
template <typename O>
concept VisionOps = RowOps<O> &&
    requires(O ops, float scale, int num_heads, int64_t count, GeluKind kind,
             std::span<const int32_t> indices, std::span<const float> weights, typename O::Tensor x,
             const typename O::Tensor& y, const typename O::Vector& vector,
             const typename O::Embedding& embedding) {
  // sum over j of weights[t,j] * table[indices[t,j]]; indices and weights [T,n]. -> [T,width]
  { ops.WeightedRows(embedding, indices, weights, count) } -> std::same_as<typename O::Tensor>;
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
