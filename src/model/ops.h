// The Ops concept: what a target must be able to do for the one forward pass (model/forward.h) to
// run on it. Not an implementation: those are targets/*. The reference target's is the definition
// where words fall short.
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

// Types: Tensor is an activation [T, width] that can be moved; Linear, Vector, Embedding and
// Experts are weights as the target prepared them; Routing is a routing table with weights;
// Rotation holds the cos and sin rows of a step. An op cannot fail: whatever it needs is allocated
// and checked when the program and the session are made. Arguments taken by value are consumed: a
// target may work in place.
template <typename O>
concept Ops = std::movable<typename O::Tensor> &&
    requires(O ops, const Step& step, const RopeSpec& rope, const RouterSpec& router_spec,
             const GatedMlpSpec& mlp_spec, const AttentionArgs& attention, float scale,
             std::span<const int32_t> rows, std::span<const float> values, int64_t width,
             typename O::Tensor x, const typename O::Tensor& y, const typename O::Linear& linear,
             const typename O::Vector& vector, const typename O::Embedding& embedding,
             const typename O::Experts& experts, const typename O::Routing& routing,
             const typename O::Rotation& rotation, const typename O::Vector* sinks) {
  {ops.Begin(step)};  // the step that all ops until the next Begin belong to
  { ops.Embed(embedding) } -> std::same_as<typename O::Tensor>;    // token_ids -> [T,H]
  { ops.RotationOf(rope) } -> std::same_as<typename O::Rotation>;  // positions -> cos, sin [T,D/2]
  { ops.Scale(std::move(x), scale) } -> std::same_as<typename O::Tensor>;
  // x + y * scale, element by element.
  { ops.AddScaled(std::move(x), y, scale) } -> std::same_as<typename O::Tensor>;
  // Every group of vector.size() elements of a row: x * rsqrt(mean(x^2) + eps) * vector. With the
  // vector [H] that is a row's norm, with [D] every head's.
  { ops.RmsNorm(y, vector, scale) } -> std::same_as<typename O::Tensor>;
  {
    ops.Multiply(y, linear)
    } -> std::same_as<typename O::Tensor>;  // [T,in] -> [T,out], bias included
  // Rotates every head of D elements.
  { ops.Rotate(std::move(x), rotation) } -> std::same_as<typename O::Tensor>;
  // Writes keys and values to the cache at the step's positions, then softmax(q k^T scale) v over
  // the keys that each query sees; sinks (one per head, or null) join the softmax's sum and nothing
  // else. -> [T, num_heads D]
  { ops.Attention(attention, y, y, y, sinks) } -> std::same_as<typename O::Tensor>;
  { ops.Route(y, linear, router_spec) } -> std::same_as<typename O::Routing>;
  // sum over k of weight[t,k] * expert[id[t,k]](x[t]), in the order of the top-k list. -> [T,H]
  { ops.Moe(y, routing, experts, mlp_spec) } -> std::same_as<typename O::Tensor>;
  { ops.GatedMlp(y, experts, mlp_spec) } -> std::same_as<typename O::Tensor>;  // the one expert
  { ops.Rows(y, rows) } -> std::same_as<typename O::Tensor>;  // the named rows of y
  // Values from the host, [values.size() / width, width].
  { ops.FromHost(values, width) } -> std::same_as<typename O::Tensor>;
  // For traces: values on the host, valid until the tensor is used again.
  { ops.Values(y) } -> std::same_as<std::span<const float>>;
  { ops.Ids(routing) } -> std::same_as<std::span<const int32_t>>;
  { ops.Weights(routing) } -> std::same_as<std::span<const float>>;
};

}  // namespace expertile
