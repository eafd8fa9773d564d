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

constexpr DecoderDefaults kDefaults = {.vocab_size = 151936,
                                       .hidden_size = 2048,
                                       .num_layers = 24,
                                       .num_heads = 32,
                                       .num_kv_heads = 4,
                                       .max_positions = 32768};
constexpr MoeDefaults kMoeDefaults = {.intermediate_name = "moe_intermediate_size",
                                      .num_experts = 128,
                                      .experts_per_token = 8,
                                      .intermediate_size = 768};

// The window is read only where windows are used; a null one is none.
Result<int64_t> ReadWindow(const JsonObject& config) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"use_sliding_window"}));
  EXPERTILE_ASSIGN(const bool windowed, config.GetBool("use_sliding_window", false));
  if (!windowed || config.IsNull("sliding_window")) return 0;
  return config.GetInt("sliding_window", 4096, {1, kMaxDimension});
}

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, kDefaults, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_ASSIGN(AttentionSpec attention, ReadAttention(config, kDefaults, spec.hidden_size));
  EXPERTILE_ASSIGN(attention.window, ReadWindow(config));
  attention.query_key_norm = true;
  EXPERTILE_ASSIGN(spec.rope, ReadRope(config, {attention.head_dim, spec.max_positions}, {}));
  EXPERTILE_ASSIGN(spec.moe, ReadMoe(config, kMoeDefaults));
  spec.moe.router.score = RouterScore::kSoftmaxThenTopK;
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"norm_topk_prob"}));
  EXPERTILE_ASSIGN(spec.moe.router.normalize, config.GetBool("norm_topk_prob", false));
  EXPERTILE_RETURN_IF_ERROR(ReadSparseLayers(config, kDefaults, attention, 6144, spec));
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
