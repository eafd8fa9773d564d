// Qwen2-MoE: biases of query, key and value, softmax-then-top-k routing, a shared expert with a
// sigmoid gate, dense layers where the configuration says so. Source: transformers'
// modeling_qwen2_moe.py.
#include <algorithm>
#include <string>
#include <variant>
#include <vector>

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
                                       .num_heads = 16,
                                       .num_kv_heads = 16,
                                       .max_positions = 32768,
                                       .bias_name = "qkv_bias",
                                       .has_bias = true};
constexpr MoeDefaults kMoeDefaults = {.intermediate_name = "moe_intermediate_size",
                                      .num_experts = 60,
                                      .experts_per_token = 4,
                                      .intermediate_size = 1408};
constexpr int64_t kDenseIntermediateSize = 5632;
constexpr int64_t kSharedIntermediateSize = 5632;

// Windows where layer_types says so, or in every other of the first max_window_layers; only if
// use_sliding_window is set.
Status ReadWindows(const JsonObject& config, DecoderSpec& spec) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"use_sliding_window", "max_window_layers"}));
  EXPERTILE_ASSIGN(const bool windowed, config.GetBool("use_sliding_window", false));
  EXPERTILE_ASSIGN(const int64_t num_windowed, config.GetInt("max_window_layers", 28));
  std::vector<bool> alternating;
  for (int64_t i = 0; i < static_cast<int64_t>(spec.layers.size()); ++i) {
    alternating.push_back(windowed && i % 2 == 0 && i < num_windowed);
  }
  EXPERTILE_ASSIGN(const std::vector<bool> sliding, ReadSlidingLayers(config, alternating));
  if (!windowed && std::ranges::find(sliding, true) != sliding.end()) {
    return InvalidData("{}: sliding_attention, but use_sliding_window is false",
                       config.NameOf("layer_types"));
  }
  if (!windowed) return {};
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"sliding_window"}));
  EXPERTILE_ASSIGN(const int64_t window, config.GetInt("sliding_window", 4096, {1, kMaxDimension}));
  for (size_t i = 0; i < sliding.size(); ++i) {
    if (sliding[i]) std::get<AttentionSpec>(spec.layers[i].mixer).window = window;
  }
  return {};
}

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, kDefaults, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_ASSIGN(AttentionSpec attention, ReadAttention(config, kDefaults, spec.hidden_size));
  attention.has_output_bias = false;
  EXPERTILE_ASSIGN(spec.rope, ReadRope(config, {attention.head_dim, spec.max_positions}, {}));
  EXPERTILE_ASSIGN(spec.moe, ReadMoe(config, kMoeDefaults));
  spec.moe.router.score = RouterScore::kSoftmaxThenTopK;
  EXPERTILE_RETURN_IF_ERROR(
      config.RefuseNull({"norm_topk_prob", "shared_expert_intermediate_size"}));
  EXPERTILE_ASSIGN(spec.moe.router.normalize, config.GetBool("norm_topk_prob", false));
  SharedExpertSpec shared{0, /*has_gate=*/true};
  EXPERTILE_ASSIGN(shared.intermediate_size,
                   config.GetInt("shared_expert_intermediate_size", kSharedIntermediateSize,
                                 {1, kMaxDimension}));
  spec.moe.shared = shared;
  EXPERTILE_RETURN_IF_ERROR(
      ReadSparseLayers(config, kDefaults, attention, kDenseIntermediateSize, spec));
  EXPERTILE_RETURN_IF_ERROR(ReadWindows(config, spec));
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
