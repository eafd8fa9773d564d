#include "model/config_fields.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"

namespace expertile {
namespace {

constexpr Bounds<int64_t> kSize = {1, kMaxDimension};
constexpr Bounds<int64_t> kHeads = {1, 65536};

Status ReadHeads(const JsonObject& config, const DecoderDefaults& defaults, DecoderSpec& spec) {
  EXPERTILE_ASSIGN(spec.num_heads,
                   config.GetInt("num_attention_heads", defaults.num_heads, kHeads));
  if (defaults.num_kv_heads) EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"num_key_value_heads"}));
  EXPERTILE_ASSIGN(
      spec.num_kv_heads,
      config.GetInt("num_key_value_heads", defaults.num_kv_heads.value_or(spec.num_heads), kHeads));
  if (!defaults.null_head_dim) EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"head_dim"}));
  EXPERTILE_ASSIGN(
      spec.head_dim,
      config.GetInt("head_dim", defaults.head_dim.value_or(spec.hidden_size / spec.num_heads),
                    kHeads));
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return InvalidData(
        "config.json: num_attention_heads: {}, expected a multiple of num_key_value_heads, {}",
        spec.num_heads, spec.num_kv_heads);
  }
  if (spec.head_dim < 1 || spec.head_dim % 2 != 0) {
    return InvalidData("config.json: head_dim: {}, expected an even number", spec.head_dim);
  }
  return {};
}

}  // namespace

Status ReadDecoderShape(const JsonObject& config, const DecoderDefaults& defaults,
                        DecoderSpec& spec) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull(
      {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
       "max_position_embeddings", "rms_norm_eps", "attention_bias", "tie_word_embeddings"}));
  if (config.Has("per_layer_config")) {
    return Unsupported("{}: layers that differ from each other are not supported",
                       config.NameOf("per_layer_config"));
  }
  EXPERTILE_ASSIGN(spec.vocab_size, config.GetInt("vocab_size", defaults.vocab_size, kSize));
  EXPERTILE_ASSIGN(spec.hidden_size, config.GetInt("hidden_size", defaults.hidden_size, kSize));
  EXPERTILE_ASSIGN(const int64_t num_layers,
                   config.GetInt("num_hidden_layers", defaults.num_layers, {1, kMaxLayers}));
  spec.layers.resize(num_layers);
  EXPERTILE_RETURN_IF_ERROR(ReadHeads(config, defaults, spec));
  EXPERTILE_ASSIGN(spec.max_positions,
                   config.GetInt("max_position_embeddings", defaults.max_positions, kSize));
  EXPERTILE_ASSIGN(const double epsilon,
                   config.GetFloat("rms_norm_eps", defaults.norm_epsilon, {0.0, 1.0}));
  spec.norm_epsilon = static_cast<float>(epsilon);
  EXPERTILE_ASSIGN(spec.attention_bias, config.GetBool("attention_bias", defaults.attention_bias));
  EXPERTILE_ASSIGN(spec.tied_lm_head, config.GetBool("tie_word_embeddings", false));
  return {};
}

Result<int64_t> GetAliasedInt(const JsonObject& config, std::string_view name,
                              std::string_view alias, int64_t fallback, Bounds<int64_t> bounds) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({name, alias}));
  EXPERTILE_RETURN_IF_ERROR(config.RefuseDisagreement(name, config, alias));
  return config.GetInt(config.Has(alias) ? alias : name, fallback, bounds);
}

Status ReadMoeShape(const JsonObject& config, const MoeDefaults& defaults, DecoderSpec& spec) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"num_experts_per_tok", defaults.intermediate_name}));
  EXPERTILE_ASSIGN(spec.moe.num_experts, GetAliasedInt(config, "num_experts", "num_local_experts",
                                                       defaults.num_experts, {1, kMaxExperts}));
  EXPERTILE_ASSIGN(
      spec.moe.router.experts_per_token,
      config.GetInt("num_experts_per_tok", defaults.experts_per_token, {1, spec.moe.num_experts}));
  EXPERTILE_ASSIGN(spec.moe.intermediate_size,
                   config.GetInt(defaults.intermediate_name, defaults.intermediate_size, kSize));
  if (spec.moe.router.experts_per_token > spec.moe.num_experts) {
    return InvalidData("{}: left out and so {}, but there are {} experts",
                       config.NameOf("num_experts_per_tok"), spec.moe.router.experts_per_token,
                       spec.moe.num_experts);
  }
  return {};
}

Status ReadDenseLayers(const JsonObject& config, int64_t default_intermediate_size,
                       DecoderSpec& spec) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"decoder_sparse_step", "intermediate_size"}));
  EXPERTILE_ASSIGN(spec.mlp_intermediate_size,
                   config.GetInt("intermediate_size", default_intermediate_size, kSize));
  EXPERTILE_ASSIGN(const std::vector<int64_t> mlp_only, config.GetIntList("mlp_only_layers"));
  EXPERTILE_ASSIGN(const int64_t sparse_step,
                   config.GetInt("decoder_sparse_step", 1, {1, kMaxLayers}));
  for (int64_t i = 0; i < static_cast<int64_t>(spec.layers.size()); ++i) {
    const bool is_dense = std::ranges::find(mlp_only, i) != mlp_only.end();
    spec.layers[i].is_moe = !is_dense && (i + 1) % sparse_step == 0;
  }
  return {};
}

Status RequireActivation(const JsonObject& config, std::string_view expected) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"hidden_act"}));
  EXPERTILE_ASSIGN(const std::string activation,
                   config.GetString("hidden_act", std::string(expected)));
  const bool is_silu = activation == "swish" && expected == "silu";  // another name of it
  if (activation != expected && !is_silu) {
    return Unsupported("{}: {}, expected {}", config.NameOf("hidden_act"), OneLine(activation),
                       expected);
  }
  return {};
}

}  // namespace expertile
