// TimedOps<O>: the ops of a target, each timed as its stage by O's stage_clock(): the host's where
// O computes as it is called, or one of a device's own. O opens scopes itself where one op is two
// stages (attention, MoE). Not the clock.
#pragma once

#include <array>
#include <span>
#include <type_traits>
#include <utility>

#include "model/ops.h"
#include "targets/stage_clock.h"

namespace expertile {

template <ComputingOps O>
class TimedOps : public O {
 public:
  using Tensor = typename O::Tensor;
  using Linear = typename O::Linear;
  using Vector = typename O::Vector;
  using Inputs = typename O::Inputs;
  using Rotation = typename O::Rotation;
  using Routing = typename O::Routing;

  static Result<TimedOps> Create(const DecoderSpec& spec, const typename O::Context& context) {
    EXPERTILE_ASSIGN(O ops, O::Create(spec, context));
    return TimedOps(std::move(ops));
  }

  void BeginLayer(int index) {
    is_in_layer_ = true;
    O::BeginLayer(index);
  }
  void EndLayer() {
    O::EndLayer();
    is_in_layer_ = false;
  }

  Tensor Embed(const typename O::Embedding& table, const Inputs& inputs) {
    const auto time = As(Stage::kEmbed);
    return O::Embed(table, inputs);
  }
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon) {
    const auto time = As(Stage::kNorms);
    return O::RmsNorm(x, weight, epsilon);
  }
  // Outside of the layers there is one product: the LM head.
  Tensor Multiply(const Tensor& x, const Linear& linear) {
    const auto time = As(is_in_layer_ ? Stage::kProjections : Stage::kHead);
    return O::Multiply(x, linear);
  }
  std::array<Tensor, 3> MultiplyThree(const Tensor& x, const Linear& query, const Linear& key,
                                      const Linear& value) {
    const auto time = As(Stage::kProjections);
    return O::MultiplyThree(x, query, key, value);
  }
  Rotation RotationOf(const RopeSpec& rope, const Inputs& inputs) {
    const auto time = As(Stage::kRope);
    return O::RotationOf(rope, inputs);
  }
  Tensor Rotate(Tensor x, const Rotation& rotation) {
    const auto time = As(Stage::kRope);
    return O::Rotate(std::move(x), rotation);
  }
  Tensor Attention(int layer, const AttentionSpec& spec, const Inputs& inputs, const Tensor& query,
                   const Tensor& key, const Tensor& value, const Vector* sinks) {
    const auto time = As(Stage::kAttention);
    return O::Attention(layer, spec, inputs, query, key, value, sinks);
  }
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec,
                const Inputs& inputs) {
    const auto time = As(Stage::kRouter);
    return O::Route(x, router, spec, inputs);
  }
  Tensor Moe(const Tensor& x, const Routing& routing, const typename O::Experts& experts,
             const GatedMlpSpec& spec) {
    const auto time = As(Stage::kExperts);
    return O::Moe(x, routing, experts, spec);
  }
  Tensor GatedMlp(const Tensor& x, const typename O::Mlp& mlp, const GatedMlpSpec& spec) {
    const auto time = As(Stage::kMlp);
    return O::GatedMlp(x, mlp, spec);
  }
  Tensor AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate) {
    const auto time = As(Stage::kMlp);
    return O::AddGated(std::move(x), y, z, gate);
  }
  Tensor AddScaled(Tensor x, const Tensor& y, float scale) {
    const auto time = As(Stage::kResidual);
    return O::AddScaled(std::move(x), y, scale);
  }

 private:
  explicit TimedOps(O ops) : O(std::move(ops)) {}
  auto As(Stage stage) {
    using Clock = std::remove_reference_t<decltype(this->stage_clock())>;
    return typename Clock::Scope(this->stage_clock(), stage);
  }

  bool is_in_layer_ = false;
};

}  // namespace expertile
