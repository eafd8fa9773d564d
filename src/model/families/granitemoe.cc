// GraniteMoE: four multipliers, top-k-then-softmax routing, experts fused as [gate; up] halves,
// tied embeddings. Source: transformers' modeling_granitemoe.py.
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/family.h"
#include "model/rope_config.h"
#include "model/weight_binding.h"

namespace expertile {
namespace {

constexpr DecoderDefaults kDefaults = {.vocab_size = 32000,
                                       .hidden_size = 4096,
                                       .num_layers = 32,
                                       .num_heads = 32,
                                       .max_positions = 2048};
constexpr MoeDefaults kMoeDefaults = {.intermediate_name = "intermediate_size",
                                      .num_experts = 8,
                                      .experts_per_token = 2,
                                      .intermediate_size = 11008};

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, kDefaults, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_ASSIGN(spec.rope, ReadRope(config, spec, {}));
  EXPERTILE_RETURN_IF_ERROR(ReadMoeShape(config, kMoeDefaults, spec));
  spec.moe.router.score = RouterScore::kTopKThenSoftmax;
  EXPERTILE_RETURN_IF_ERROR(
      config.RefuseNull({"embedding_multiplier", "residual_multiplier", "logits_scaling"}));
  EXPERTILE_ASSIGN(const double embedding, config.GetFloat("embedding_multiplier", 1.0));
  EXPERTILE_ASSIGN(const double residual, config.GetFloat("residual_multiplier", 1.0));
  // Null is the attention's own scale.
  const double own_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  EXPERTILE_ASSIGN(const double attention,
                   config.GetFloat("attention_multiplier",
                                   config.IsNull("attention_multiplier") ? own_scale : 1.0));
  EXPERTILE_ASSIGN(const double logits, config.GetFloat("logits_scaling", 1.0, {1e-9, 1e9}));
  spec.embedding_scale = static_cast<float>(embedding);
  spec.residual_scale = static_cast<float>(residual);
  spec.attention_scale = static_cast<float>(attention);
  spec.logits_scale = static_cast<float>(1.0 / logits);
  return spec;
}

// The first of two names that the checkpoint has: as published, and as transformers 5 holds it in
// memory.
std::string FirstPresent(const CheckpointTensors& tensors, const std::string& published,
                         const std::string& renamed) {
  return !tensors.Contains(published) && tensors.Contains(renamed) ? renamed : published;
}

Result<LayerWeights> BindLayer(const DecoderSpec& spec, const CheckpointTensors& tensors,
                               const std::string& name, int) {
  const std::string moe = name + "block_sparse_moe.";
  LayerWeights layer;
  EXPERTILE_RETURN_IF_ERROR(BindAttention(spec, tensors, name, layer));
  const std::string router =
      FirstPresent(tensors, moe + "router.layer.weight", moe + "router.weight");
  LinearView router_view;
  EXPERTILE_ASSIGN(router_view.weight,
                   BindMatrix(tensors, router, spec.moe.num_experts, spec.hidden_size));
  layer.router = router_view;
  EXPERTILE_ASSIGN(
      layer.experts,
      BindFusedExperts(
          tensors,
          {.gate_up =
               FirstPresent(tensors, moe + "input_linear.weight", moe + "experts.gate_up_proj"),
           .down = FirstPresent(tensors, moe + "output_linear.weight", moe + "experts.down_proj")},
          spec.moe.num_experts, spec.moe.intermediate_size, spec.hidden_size));
  return layer;
}

Result<DecoderWeights> BindWeights(const DecoderSpec& spec, const CheckpointTensors& tensors) {
  return BindDecoder(spec, tensors, "model.", BindLayer);
}

}  // namespace

const Family kGraniteMoe = {"granitemoe", ReadConfig, BindWeights};

}  // namespace expertile
