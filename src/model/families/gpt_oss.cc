// GPT-OSS: biases everywhere, attention sinks, alternating windows, YaRN, top-k-then-softmax
// routing with a bias, clamped SwiGLU experts, in MXFP4 blocks or bfloat16. Source: transformers'
// modeling_gpt_oss.py and integrations/mxfp4.py.
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/family.h"
#include "model/rope_config.h"
#include "model/weight_binding.h"

namespace expertile {
namespace {

constexpr DecoderDefaults kDefaults = {.vocab_size = 201088,
                                       .hidden_size = 2880,
                                       .num_layers = 36,
                                       .num_heads = 64,
                                       .num_kv_heads = 8,
                                       .head_dim = 64,
                                       .max_positions = 131072,
                                       .norm_epsilon = 1e-5,
                                       .has_bias = true};
constexpr MoeDefaults kMoeDefaults = {.intermediate_name = "intermediate_size",
                                      .num_experts = 128,
                                      .experts_per_token = 4,
                                      .intermediate_size = 2880};
constexpr RopeDefaults kRopeDefaults = {
    .theta = 150000.0,
    .parameters = R"({"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
                      "truncate": false, "original_max_position_embeddings": 4096})"};

// Windows where layer_types says so, or in every other layer from the first on.
Status ReadLayers(const JsonObject& config, AttentionSpec attention, DecoderSpec& spec) {
  EXPERTILE_ASSIGN(const int64_t num_layers, ReadNumLayers(config, kDefaults));
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"sliding_window"}));
  EXPERTILE_ASSIGN(const int64_t window, config.GetInt("sliding_window", 128, {1, kMaxDimension}));
  std::vector<bool> alternating;
  for (int64_t i = 0; i < num_layers; ++i) alternating.push_back(i % 2 == 0);
  EXPERTILE_ASSIGN(const std::vector<bool> sliding, ReadSlidingLayers(config, alternating));
  for (const bool is_sliding : sliding) {
    attention.window = is_sliding ? window : 0;
    spec.layers.push_back({attention, spec.moe});
  }
  return {};
}

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, kDefaults, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_ASSIGN(AttentionSpec attention, ReadAttention(config, kDefaults, spec.hidden_size));
  attention.has_sinks = true;
  EXPERTILE_ASSIGN(spec.rope,
                   ReadRope(config, {attention.head_dim, spec.max_positions}, kRopeDefaults));
  EXPERTILE_RETURN_IF_ERROR(
      config.RefuseDisagreement("num_experts_per_tok", config, "experts_per_token"));
  EXPERTILE_ASSIGN(spec.moe, ReadMoe(config, kMoeDefaults));
  spec.moe.router.score = RouterScore::kTopKThenSoftmax;
  spec.moe.router.has_bias = spec.moe.has_bias = true;
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"swiglu_limit", "swiglu_alpha"}));
  EXPERTILE_ASSIGN(const double limit, config.GetFloat("swiglu_limit", 7.0, {0.0, 1e30}));
  EXPERTILE_ASSIGN(const double alpha, config.GetFloat("swiglu_alpha", 1.702));
  spec.moe.gated = {GatedActivation::kClampedSwiGlu, static_cast<float>(limit),
                    static_cast<float>(alpha)};
  EXPERTILE_RETURN_IF_ERROR(ReadLayers(config, attention, spec));
  return spec;
}

Result<std::vector<MlpView>> BindExpertWeights(const DecoderSpec& spec,
                                               const CheckpointTensors& tensors,
                                               const std::string& prefix) {
  const int64_t E = spec.moe.num_experts;
  const int64_t I = spec.moe.intermediate_size;
  const int64_t H = spec.hidden_size;
  if (!tensors.Contains(prefix + "gate_up_proj_blocks")) {
    return BindFusedExperts(tensors,
                            {.gate_up = prefix + "gate_up_proj",
                             .down = prefix + "down_proj",
                             .orientation = ExpertOrientation::kInputMajor,
                             .order = GateUpOrder::kInterleaved},
                            E, I, H);
  }
  std::vector<MlpView> experts(E);
  for (int64_t e = 0; e < E; ++e) {
    EXPERTILE_ASSIGN(const MatrixView gate_up,
                     BindMxfp4(tensors, prefix + "gate_up_proj", {E, 2 * I, H}, e));
    EXPERTILE_ASSIGN(const GateUp split, SplitGateUp(gate_up, GateUpOrder::kInterleaved));
    experts[e].gate.weight = split.gate;
    experts[e].up.weight = split.up;
    EXPERTILE_ASSIGN(experts[e].down.weight,
                     BindMxfp4(tensors, prefix + "down_proj", {E, H, I}, e));
  }
  return experts;
}

Status BindExpertBiases(const DecoderSpec& spec, const CheckpointTensors& tensors,
                        const std::string& prefix, std::vector<MlpView>& experts) {
  const int64_t E = spec.moe.num_experts;
  EXPERTILE_ASSIGN(const MatrixView gate_up, BindMatrix(tensors, prefix + "gate_up_proj_bias", E,
                                                        2 * spec.moe.intermediate_size));
  EXPERTILE_ASSIGN(const MatrixView down,
                   BindMatrix(tensors, prefix + "down_proj_bias", E, spec.hidden_size));
  for (int64_t e = 0; e < E; ++e) {
    EXPERTILE_ASSIGN(const MatrixView gate_up_row, gate_up.Rows(e, 1));  // [1,2I]
    EXPERTILE_ASSIGN(const GateUp split,
                     SplitGateUp(gate_up_row.Transposed(), GateUpOrder::kInterleaved));
    experts[e].gate.bias = split.gate.Transposed();
    experts[e].up.bias = split.up.Transposed();
    EXPERTILE_ASSIGN(experts[e].down.bias, down.Rows(e, 1));
  }
  return {};
}

Status BindMoe(const DecoderSpec& spec, const CheckpointTensors& tensors, const std::string& layer,
               MoeViews& moe) {
  const std::string experts = layer + "mlp.experts.";
  EXPERTILE_ASSIGN(moe.router, BindLinear(tensors, layer + "mlp.router", spec.moe.num_experts,
                                          spec.hidden_size, spec.moe.router.has_bias));
  EXPERTILE_ASSIGN(moe.experts, BindExpertWeights(spec, tensors, experts));
  return BindExpertBiases(spec, tensors, experts, moe.experts);
}

Result<DecoderViews> BindWeights(const DecoderSpec& spec, const CheckpointTensors& tensors) {
  return BindDecoder(spec, tensors, "model.", BindMoe);
}

}  // namespace

const Family kGptOss = {.model_type = "gpt_oss",
                        .read_config = ReadConfig,
                        .bind_weights = BindWeights,
                        .has_mxfp4_experts = true};

}  // namespace expertile
