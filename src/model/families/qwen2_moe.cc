// Qwen2-MoE: biases of query, key and value, softmax-then-top-k routing, a shared expert with a
// sigmoid gate, dense layers where the configuration says so. Source: transformers'
// modeling_qwen2_moe.py.
#include <string>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/family.h"
#include "model/rope_config.h"
#include "model/weight_binding.h"

namespace expertile {
namespace {

Status RefuseWindows(const JsonObject& config) {
  EXPERTILE_ASSIGN(const bool windowed, config.GetBool("use_sliding_window", false));
  if (windowed) return Unsupported("config.json: use_sliding_window: true, expected false");
  return {};
}

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_RETURN_IF_ERROR(RefuseWindows(config));
  EXPERTILE_ASSIGN(AttentionSpec attention, ReadAttention(config, spec.hidden_size));
  EXPERTILE_ASSIGN(attention.has_bias, config.GetBool("qkv_bias", true));
  attention.has_output_bias = false;
  EXPERTILE_ASSIGN(spec.rope, ReadRope(config, attention.head_dim, 10000.0));
  EXPERTILE_ASSIGN(spec.moe,
                   ReadMoe(config, {"num_experts", "num_local_experts"}, "moe_intermediate_size"));
  spec.moe.router.score = RouterScore::kSoftmaxThenTopK;
  EXPERTILE_ASSIGN(spec.moe.router.normalize, config.GetBool("norm_topk_prob", false));
  SharedExpertSpec shared{0, /*has_gate=*/true};
  EXPERTILE_ASSIGN(shared.intermediate_size,
                   config.GetInt("shared_expert_intermediate_size", 5632, {1, kMaxDimension}));
  spec.moe.shared = shared;
  EXPERTILE_RETURN_IF_ERROR(ReadSparseLayers(config, attention, 5632, spec));
  return spec;
}

Status BindMoe(const DecoderSpec& spec, const CheckpointTensors& tensors, const std::string& layer,
               MoeViews& moe) {
  const int64_t H = spec.hidden_size;
  EXPERTILE_ASSIGN(moe.router, BindLinear(tensors, layer + "mlp.gate", spec.moe.num_experts, H,
                                          /*has_bias=*/false));
  EXPERTILE_ASSIGN(moe.experts, BindExperts(spec, tensors, layer + "mlp.experts."));
  EXPERTILE_ASSIGN(moe.shared, BindMlp(tensors, layer + "mlp.shared_expert",
                                       spec.moe.shared->intermediate_size, H));
  EXPERTILE_ASSIGN(moe.shared_gate, BindLinear(tensors, layer + "mlp.shared_expert_gate", 1, H,
                                               /*has_bias=*/false));
  return {};
}

Result<DecoderViews> BindWeights(const DecoderSpec& spec, const CheckpointTensors& tensors) {
  return BindDecoder(spec, tensors, "model.", BindMoe);
}

}  // namespace

const Family kQwen2Moe = {"qwen2_moe", ReadConfig, BindWeights};

}  // namespace expertile
