#include "model/config_fields.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"

namespace expertile {
namespace {

constexpr Bounds<int64_t> kSize = {1, kMaxDimension};
constexpr Bounds<int64_t> kHeads = {1, 65536};

Status ReadHeads(const JsonObject& config, const DecoderDefaults& defaults, int64_t hidden_size,
                 AttentionSpec& spec) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"num_attention_heads"}));
  EXPERTILE_ASSIGN(spec.num_heads,
                   config.GetInt("num_attention_heads", defaults.num_heads, kHeads));
  if (defaults.num_kv_heads) EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"num_key_value_heads"}));
  EXPERTILE_ASSIGN(
      spec.num_kv_heads,
      config.GetInt("num_key_value_heads", defaults.num_kv_heads.value_or(spec.num_heads), kHeads));
  if (!defaults.null_head_dim) EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"head_dim"}));
  EXPERTILE_ASSIGN(
      spec.head_dim,
      config.GetInt("head_dim", defaults.head_dim.value_or(hidden_size / spec.num_heads), kHeads));
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return InvalidData(
        "config.json: num_attention_heads: {}, expected a multiple of num_key_value_heads, {}",
        spec.num_heads, spec.num_kv_heads);
  }
  if (spec.head_dim < 1 || spec.head_dim % 2 != 0) {
    return InvalidData("config.json: head_dim: {}, expected an even number above 0", spec.head_dim);
  }
  return {};
}

}  // namespace

Status ReadDecoderShape(const JsonObject& config, const DecoderDefaults& defaults,
                        DecoderSpec& spec) {
  EXPERTILE_RETURN_IF_ERROR(
      config.RefuseNull({"vocab_size", "hidden_size", "max_position_embeddings", "rms_norm_eps",
                         "tie_word_embeddings"}));
  if (config.Has("per_layer_config")) {
    return Unsupported("{}: layers that differ from each other are not supported",
                       config.NameOf("per_layer_config"));
  }
  EXPERTILE_ASSIGN(spec.vocab_size, config.GetInt("vocab_size", defaults.vocab_size, kSize));
  EXPERTILE_ASSIGN(spec.hidden_size, config.GetInt("hidden_size", defaults.hidden_size, kSize));
  EXPERTILE_ASSIGN(spec.max_positions,
                   config.GetInt("max_position_embeddings", defaults.max_positions, kSize));
  EXPERTILE_ASSIGN(const double epsilon,
                   config.GetFloat("rms_norm_eps", defaults.norm_epsilon, {0.0, 1.0}));
  spec.norm_epsilon = static_cast<float>(epsilon);
  EXPERTILE_ASSIGN(spec.tied_lm_head, config.GetBool("tie_word_embeddings", false));
  return {};
}

Result<AttentionSpec> ReadAttention(const JsonObject& config, const DecoderDefaults& defaults,
                                    int64_t hidden_size) {
  AttentionSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadHeads(config, defaults, hidden_size, spec));
  spec.scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({defaults.bias_name}));
  EXPERTILE_ASSIGN(spec.has_bias, config.GetBool(defaults.bias_name, defaults.has_bias));
  spec.has_output_bias = spec.has_bias;
  return spec;
}

Result<MoeSpec> ReadMoe(const JsonObject& config, const MoeDefaults& defaults) {
  MoeSpec moe;
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"num_experts_per_tok", defaults.intermediate_name}));
  EXPERTILE_ASSIGN(moe.num_experts, GetAliasedInt(config, "num_experts", "num_local_experts",
                                                  defaults.num_experts, {1, kMaxExperts}));
  EXPERTILE_ASSIGN(
      moe.router.experts_per_token,
      config.GetInt("num_experts_per_tok", defaults.experts_per_token, {1, moe.num_experts}));
  EXPERTILE_ASSIGN(moe.intermediate_size,
                   config.GetInt(defaults.intermediate_name, defaults.intermediate_size, kSize));
  if (moe.router.experts_per_token > moe.num_experts) {
    return InvalidData("{}: left out and so {}, but there are {} experts",
                       config.NameOf("num_experts_per_tok"), moe.router.experts_per_token,
                       moe.num_experts);
  }
  return moe;
}

Result<int64_t> ReadNumLayers(const JsonObject& config, const DecoderDefaults& defaults) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"num_hidden_layers"}));
  return config.GetInt("num_hidden_layers", defaults.num_layers, {1, kMaxLayers});
}

Status ReadSparseLayers(const JsonObject& config, const DecoderDefaults& defaults,
                        const MixerSpec& mixer, int64_t default_intermediate_size,
                        DecoderSpec& spec) {
  MlpSpec dense;
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"decoder_sparse_step", "intermediate_size"}));
  EXPERTILE_ASSIGN(dense.intermediate_size,
                   config.GetInt("intermediate_size", default_intermediate_size, kSize));
  EXPERTILE_ASSIGN(const int64_t num_layers, ReadNumLayers(config, defaults));
  EXPERTILE_ASSIGN(const std::vector<int64_t> mlp_only, config.GetIntList("mlp_only_layers"));
  EXPERTILE_ASSIGN(const int64_t sparse_step,
                   config.GetInt("decoder_sparse_step", 1, {1, kMaxLayers}));
  for (int64_t i = 0; i < num_layers; ++i) {
    const bool is_dense = std::ranges::find(mlp_only, i) != mlp_only.end();
    if (!is_dense && (i + 1) % sparse_step == 0) {
      spec.layers.push_back({mixer, spec.moe});
    } else {
      spec.layers.push_back({mixer, dense});
    }
  }
  return {};
}

Result<std::vector<bool>> ReadSlidingLayers(const JsonObject& config, std::vector<bool> fallback) {
  if (!config.Has("layer_types")) return fallback;
  EXPERTILE_ASSIGN(const std::vector<std::string> types, config.GetStringList("layer_types"));
  if (types.size() != fallback.size()) {
    return InvalidData("{}: {} entries, num_hidden_layers is {}", config.NameOf("layer_types"),
                       types.size(), fallback.size());
  }
  std::vector<bool> sliding;
  for (const std::string& type : types) {
    const bool is_full = type == "full_attention" || type == "attention";  // an older name
    if (!is_full && type != "sliding_attention") {
      return Unsupported("{}: {}, expected sliding_attention or full_attention",
                         config.NameOf("layer_types"), OneLine(type));
    }
    sliding.push_back(!is_full);
  }
  return sliding;
}

Result<int64_t> GetAliasedInt(const JsonObject& config, std::string_view name,
                              std::string_view alias, int64_t fallback, Bounds<int64_t> bounds) {
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({name, alias}));
  EXPERTILE_RETURN_IF_ERROR(config.RefuseDisagreement(name, config, alias));
  return config.GetInt(config.Has(alias) ? alias : name, fallback, bounds);
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
