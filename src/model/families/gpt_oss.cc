// GPT-OSS: biases everywhere, attention sinks, alternating windows, YaRN, top-k-then-softmax
// routing with a bias, clamped SwiGLU experts, in MXFP4 blocks or bfloat16. Source: transformers'
// modeling_gpt_oss.py and integrations/mxfp4.py.
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

constexpr DecoderDefaults kDefaults = {.vocab_size = 201088,
                                       .hidden_size = 2880,
                                       .num_layers = 36,
                                       .num_heads = 64,
                                       .num_kv_heads = 8,
                                       .head_dim = 64,
                                       .max_positions = 131072,
                                       .norm_epsilon = 1e-5,
                                       .attention_bias = true};
constexpr MoeDefaults kMoeDefaults = {.intermediate_name = "intermediate_size",
                                      .num_experts = 128,
                                      .experts_per_token = 4,
                                      .intermediate_size = 2880};
constexpr RopeDefaults kRopeDefaults = {
    .theta = 150000.0,
    .parameters = R"({"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
                      "truncate": false, "original_max_position_embeddings": 4096})"};

// layer_types, or windows in every other layer from the first on.
Status ReadLayers(const JsonObject& config, DecoderSpec& spec) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"sliding_window"}));
  EXPERTILE_ASSIGN(const int64_t window, config.GetInt("sliding_window", 128, {1, kMaxDimension}));
  if (!config.Has("layer_types")) {
    for (size_t i = 0; i < spec.layers.size(); i += 2) spec.layers[i].attention_window = window;
    return {};
  }
  EXPERTILE_ASSIGN(const std::vector<std::string> types, config.GetStringList("layer_types"));
  if (types.size() != spec.layers.size()) {
    return InvalidData("config.json: layer_types: {} entries, num_hidden_layers is {}",
                       types.size(), spec.layers.size());
  }
  for (size_t i = 0; i < types.size(); ++i) {
    const bool is_full = types[i] == "full_attention" || types[i] == "attention";  // an older name
    if (!is_full && types[i] != "sliding_attention") {
      return Unsupported(
          "config.json: layer_types: {}, expected sliding_attention or full_attention",
          OneLine(types[i]));
    }
    if (!is_full) spec.layers[i].attention_window = window;
  }
  return {};
}

Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(config, kDefaults, spec));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(config, "silu"));
  EXPERTILE_ASSIGN(spec.rope, ReadRope(config, spec, kRopeDefaults));
  spec.attention_sinks = true;
  spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  EXPERTILE_RETURN_IF_ERROR(
      config.RefuseDisagreement("num_experts_per_tok", config, "experts_per_token"));
  EXPERTILE_RETURN_IF_ERROR(ReadMoeShape(config, kMoeDefaults, spec));
  spec.moe.router.score = RouterScore::kTopKThenSoftmax;
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"swiglu_limit", "swiglu_alpha"}));
  EXPERTILE_ASSIGN(const double limit, config.GetFloat("swiglu_limit", 7.0, {0.0, 1e30}));
  EXPERTILE_ASSIGN(const double alpha, config.GetFloat("swiglu_alpha", 1.702));
  spec.moe.mlp = {GatedActivation::kClampedSwiGlu, static_cast<float>(limit),
                  static_cast<float>(alpha)};
  EXPERTILE_RETURN_IF_ERROR(ReadLayers(config, spec));
  return spec;
}

Result<std::vector<ExpertView>> BindExpertWeights(const DecoderSpec& spec,
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
  std::vector<ExpertView> experts(E);
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
                        const std::string& prefix, std::vector<ExpertView>& experts) {
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

Result<LayerWeights> BindLayer(const DecoderSpec& spec, const CheckpointTensors& tensors,
                               const std::string& name, int) {
  const std::string experts = name + "mlp.experts.";
  LayerWeights layer;
  EXPERTILE_RETURN_IF_ERROR(BindAttention(spec, tensors, name, layer));
  EXPERTILE_ASSIGN(layer.router, BindLinear(tensors, name + "mlp.router", spec.moe.num_experts,
                                            spec.hidden_size, /*has_bias=*/true));
  EXPERTILE_ASSIGN(layer.experts, BindExpertWeights(spec, tensors, experts));
  EXPERTILE_RETURN_IF_ERROR(BindExpertBiases(spec, tensors, experts, layer.experts));
  return layer;
}

Result<DecoderWeights> BindWeights(const DecoderSpec& spec, const CheckpointTensors& tensors) {
  return BindDecoder(spec, tensors, "model.", BindLayer);
}

}  // namespace

const Family kGptOss = {.model_type = "gpt_oss",
                        .read_config = ReadConfig,
                        .bind_weights = BindWeights,
                        .has_mxfp4_experts = true};

}  // namespace expertile
