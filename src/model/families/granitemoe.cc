// GraniteMoE: four multipliers, top-k-then-softmax routing, experts fused as [gate; up] halves,
// tied embeddings; GraniteMoEShared: the same with a shared expert that has no gate. Source:
// transformers' modeling_granitemoe.py and modeling_granitemoeshared.py.
#include <string>
#include <utility>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/family.h"
#include "model/rope_config.h"
#include "model/weight_binding.h"

namespace expertile {
namespace {

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_ASSIGN(AttentionSpec attention, ReadAttention(config, spec.hidden_size));
  EXPERTILE_ASSIGN(spec.rope, ReadRope(config, attention.head_dim, 10000.0));
  EXPERTILE_ASSIGN(spec.moe,
                   ReadMoe(config, {"num_local_experts", "num_experts"}, "intermediate_size"));
  spec.moe.router.score = RouterScore::kTopKThenSoftmax;
  EXPERTILE_ASSIGN(const double embedding, config.GetFloat("embedding_multiplier", 1.0));
  EXPERTILE_ASSIGN(const double residual, config.GetFloat("residual_multiplier", 1.0));
  EXPERTILE_ASSIGN(const double scale, config.GetFloat("attention_multiplier", 1.0));
  EXPERTILE_ASSIGN(const double logits, config.GetFloat("logits_scaling", 1.0, {1e-9, 1e9}));
  spec.embedding_scale = static_cast<float>(embedding);
  spec.residual_scale = static_cast<float>(residual);
  attention.scale = static_cast<float>(scale);
  spec.logits_scale = static_cast<float>(1.0 / logits);
  EXPERTILE_ASSIGN(const int64_t num_layers, ReadNumLayers(config));
  spec.layers.assign(num_layers, {attention, spec.moe});
  return spec;
}

Result<DecoderSpec> ReadSharedConfig(const JsonObject& config) {
  EXPERTILE_ASSIGN(DecoderSpec spec, ReadConfig(config));
  EXPERTILE_ASSIGN(const int64_t size,
                   config.GetInt("shared_intermediate_size", 0, {0, kMaxDimension}));
  if (size == 0) return spec;
  spec.moe.shared = SharedExpertSpec{size, /*has_gate=*/false};
  for (LayerSpec& layer : spec.layers) layer.mlp = spec.moe;
  return spec;
}

// The first of two names that the checkpoint has: as published, and as transformers 5 holds it in
// memory.
std::string FirstPresent(const CheckpointTensors& tensors, const std::string& published,
                         const std::string& renamed) {
  return tensors.Find(published) == nullptr && tensors.Find(renamed) != nullptr ? renamed
                                                                                : published;
}

Status BindMoe(const DecoderSpec& spec, const CheckpointTensors& tensors, const std::string& layer,
               MoeViews& moe) {
  const std::string name = layer + "block_sparse_moe.";
  const std::string router =
      FirstPresent(tensors, name + "router.layer.weight", name + "router.weight");
  EXPERTILE_ASSIGN(moe.router.weight,
                   BindMatrix(tensors, router, spec.moe.num_experts, spec.hidden_size));
  const FusedExperts names = {
      .gate_up = FirstPresent(tensors, name + "input_linear.weight", name + "experts.gate_up_proj"),
      .down = FirstPresent(tensors, name + "output_linear.weight", name + "experts.down_proj")};
  EXPERTILE_ASSIGN(moe.experts, BindFusedExperts(tensors, names, spec.moe.num_experts,
                                                 spec.moe.intermediate_size, spec.hidden_size));
  if (!spec.moe.shared) return {};
  const int64_t H = spec.hidden_size;
  const int64_t I = spec.moe.shared->intermediate_size;
  EXPERTILE_ASSIGN(const MatrixView gate_up,
                   BindMatrix(tensors, layer + "shared_mlp.input_linear.weight", 2 * I, H));
  EXPERTILE_ASSIGN(const GateUp split, SplitGateUp(gate_up, GateUpOrder::kHalves));
  moe.shared.gate.weight = split.gate;
  moe.shared.up.weight = split.up;
  EXPERTILE_ASSIGN(moe.shared.down.weight,
                   BindMatrix(tensors, layer + "shared_mlp.output_linear.weight", H, I));
  return {};
}

Result<DecoderViews> BindWeights(const DecoderSpec& spec, const CheckpointTensors& tensors) {
  return BindDecoder(spec, tensors, "model.", BindMoe);
}

}  // namespace

const Family kGraniteMoe = {"granitemoe", ReadConfig, BindWeights};
const Family kGraniteMoeShared = {"granitemoeshared", ReadSharedConfig, BindWeights};

}  // namespace expertile
