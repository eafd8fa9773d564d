// Qwen3-MoE: RMS-normed query and key heads, softmax-then-top-k routing, SiLU experts, dense layers
// where the configuration says so. Source: transformers' modeling_qwen3_moe.py.
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
Status ReadWindows(const JsonObject& config, DecoderSpec& spec) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"use_sliding_window"}));
  EXPERTILE_ASSIGN(const bool windowed, config.GetBool("use_sliding_window", false));
  if (!windowed || config.IsNull("sliding_window")) return {};
  EXPERTILE_ASSIGN(const int64_t window, config.GetInt("sliding_window", 4096, {1, kMaxDimension}));
  for (LayerSpec& layer : spec.layers) layer.attention_window = window;
  return {};
}

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, kDefaults, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_ASSIGN(spec.rope, ReadRope(config, spec, {}));
  spec.query_key_norm = true;
  spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  EXPERTILE_RETURN_IF_ERROR(ReadMoeShape(config, kMoeDefaults, spec));
  spec.moe.router.score = RouterScore::kSoftmaxThenTopK;
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"norm_topk_prob"}));
  EXPERTILE_ASSIGN(spec.moe.router.normalize, config.GetBool("norm_topk_prob", false));
  EXPERTILE_RETURN_IF_ERROR(ReadDenseLayers(config, 6144, spec));
  EXPERTILE_RETURN_IF_ERROR(ReadWindows(config, spec));
  return spec;
}

Result<std::vector<ExpertView>> BindExperts(const DecoderSpec& spec,
                                            const CheckpointTensors& tensors,
                                            const std::string& prefix) {
  const int64_t H = spec.hidden_size;
  const int64_t I = spec.moe.intermediate_size;
  const std::string fused = prefix + ".experts.gate_up_proj";
  if (tensors.Contains(fused)) {
    return BindFusedExperts(tensors, {.gate_up = fused, .down = prefix + ".experts.down_proj"},
                            spec.moe.num_experts, I, H);
  }
  std::vector<ExpertView> experts;
  for (int e = 0; e < spec.moe.num_experts; ++e) {
    const std::string name = prefix + ".experts." + std::to_string(e);
    EXPERTILE_ASSIGN(ExpertView expert, BindGatedMlp(tensors, name, I, H));
    experts.push_back(std::move(expert));
  }
  return experts;
}

Result<LayerWeights> BindLayer(const DecoderSpec& spec, const CheckpointTensors& tensors,
                               const std::string& name, int index) {
  LayerWeights layer;
  EXPERTILE_RETURN_IF_ERROR(BindAttention(spec, tensors, name, layer));
  if (!spec.layers[index].is_moe) {
    EXPERTILE_ASSIGN(ExpertView mlp, BindGatedMlp(tensors, name + "mlp", spec.mlp_intermediate_size,
                                                  spec.hidden_size));
    layer.experts.push_back(std::move(mlp));
    return layer;
  }
  EXPERTILE_ASSIGN(layer.router, BindLinear(tensors, name + "mlp.gate", spec.moe.num_experts,
                                            spec.hidden_size, /*has_bias=*/false));
  EXPERTILE_ASSIGN(layer.experts, BindExperts(spec, tensors, name + "mlp"));
  return layer;
}

Result<DecoderWeights> BindWeights(const DecoderSpec& spec, const CheckpointTensors& tensors) {
  return BindDecoder(spec, tensors, "model.", BindLayer);
}

}  // namespace

const Family kQwen3Moe = {"qwen3_moe", ReadConfig, BindWeights};

}  // namespace expertile
