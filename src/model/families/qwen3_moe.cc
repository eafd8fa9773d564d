// Qwen3-MoE: RMS-normed query and key heads, softmax-then-top-k routing, SiLU experts, dense layers
// where the configuration says so. Source: transformers' modeling_qwen3_moe.py.
#include <string>
#include <utility>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/family.h"
#include "model/rope_config.h"
#include "model/weight_binding.h"

namespace expertile {
namespace {

Result<int64_t> ReadWindow(const JsonObject& config) {
  EXPERTILE_ASSIGN(const bool windowed, config.GetBool("use_sliding_window", false));
  EXPERTILE_ASSIGN(const int64_t window, config.GetInt("sliding_window", 4096, {1, kMaxDimension}));
  return windowed ? window : 0;
}

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_ASSIGN(AttentionSpec attention, ReadAttention(config, spec.hidden_size));
  EXPERTILE_ASSIGN(attention.window, ReadWindow(config));
  attention.query_key_norm = true;
  EXPERTILE_ASSIGN(spec.rope, ReadRope(config, attention.head_dim, 10000.0));
  EXPERTILE_ASSIGN(spec.moe,
                   ReadMoe(config, {"num_experts", "num_local_experts"}, "moe_intermediate_size"));
  spec.moe.router.score = RouterScore::kSoftmaxThenTopK;
  EXPERTILE_ASSIGN(spec.moe.router.normalize, config.GetBool("norm_topk_prob", false));
  EXPERTILE_RETURN_IF_ERROR(ReadSparseLayers(config, attention, 6144, spec));
  return spec;
}

Status BindMoe(const DecoderSpec& spec, const CheckpointTensors& tensors, const std::string& layer,
               MoeViews& moe) {
  EXPERTILE_ASSIGN(moe.router, BindLinear(tensors, layer + "mlp.gate", spec.moe.num_experts,
                                          spec.hidden_size, /*has_bias=*/false));
  EXPERTILE_ASSIGN(moe.experts, BindExperts(spec, tensors, layer + "mlp.experts."));
  return {};
}

Result<DecoderViews> BindWeights(const DecoderSpec& spec, const CheckpointTensors& tensors) {
  return BindDecoder(spec, tensors, "model.", BindMoe);
}

}  // namespace

const Family kQwen3Moe = {"qwen3_moe", ReadConfig, BindWeights};

}  // namespace expertile
