#include "model/config_fields.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"

namespace expertile {

Status ReadDecoderShape(const JsonObject& config, DecoderSpec& spec) {
  EXPERTILE_ASSIGN(spec.model_type, config.GetString("model_type"));
  EXPERTILE_ASSIGN(spec.vocab_size, config.GetInt("vocab_size", kRequired, {1, kMaxDimension}));
  EXPERTILE_ASSIGN(spec.hidden_size, config.GetInt("hidden_size", kRequired, {1, kMaxDimension}));
  EXPERTILE_ASSIGN(spec.max_positions,
                   config.GetInt("max_position_embeddings", kRequired, {1, kMaxDimension}));
  EXPERTILE_ASSIGN(spec.tied_lm_head, config.GetBool("tie_word_embeddings", false));
  EXPERTILE_ASSIGN(const double epsilon, config.GetFloat("rms_norm_eps", 1e-6, {0.0, 1.0}));
  spec.norm_epsilon = static_cast<float>(epsilon);
  return {};
}

Result<AttentionSpec> ReadAttention(const JsonObject& config, int64_t hidden_size,
                                    bool default_bias) {
  AttentionSpec spec;
  EXPERTILE_ASSIGN(spec.num_heads, config.GetInt("num_attention_heads", kRequired, {1, 65536}));
  EXPERTILE_ASSIGN(spec.num_kv_heads,
                   config.GetInt("num_key_value_heads", spec.num_heads, {1, 65536}));
  EXPERTILE_ASSIGN(spec.head_dim,
                   config.GetInt("head_dim", hidden_size / spec.num_heads, {1, 65536}));
  EXPERTILE_ASSIGN(spec.has_bias, config.GetBool("attention_bias", default_bias));
  spec.has_output_bias = spec.has_bias;
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return InvalidData(
        "config.json: num_attention_heads: {}, expected a multiple of num_key_value_heads, {}",
        spec.num_heads, spec.num_kv_heads);
  }
  if (spec.head_dim % 2 != 0) {
    return InvalidData("config.json: head_dim: {}, expected an even number", spec.head_dim);
  }
  spec.scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  return spec;
}

Result<MoeSpec> ReadMoe(const JsonObject& config,
                        std::initializer_list<std::string_view> expert_names,
                        std::string_view intermediate_name) {
  MoeSpec moe;
  std::string_view name = *expert_names.begin();
  for (const std::string_view candidate : expert_names) {
    if (config.Has(candidate)) name = candidate;
  }
  EXPERTILE_ASSIGN(moe.num_experts, config.GetInt(name, kRequired, {1, kMaxExperts}));
  EXPERTILE_ASSIGN(moe.router.experts_per_token,
                   config.GetInt("num_experts_per_tok", kRequired, {1, moe.num_experts}));
  EXPERTILE_ASSIGN(moe.intermediate_size,
                   config.GetInt(intermediate_name, kRequired, {1, kMaxDimension}));
  return moe;
}

Result<int64_t> ReadNumLayers(const JsonObject& config) {
  return config.GetInt("num_hidden_layers", kRequired, {1, kMaxLayers});
}

Status ReadSparseLayers(const JsonObject& config, const MixerSpec& mixer,
                        int64_t default_intermediate_size, DecoderSpec& spec) {
  MlpSpec dense;
  EXPERTILE_ASSIGN(
      dense.intermediate_size,
      config.GetInt("intermediate_size", default_intermediate_size, {1, kMaxDimension}));
  EXPERTILE_ASSIGN(const int64_t num_layers, ReadNumLayers(config));
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

Status RequireActivation(const JsonObject& config, std::string_view expected) {
  EXPERTILE_ASSIGN(const std::string activation,
                   config.GetString("hidden_act", std::string(expected)));
  if (activation != expected) {
    return Unsupported("config.json: hidden_act: {}, expected {}", OneLine(activation), expected);
  }
  return {};
}

}  // namespace expertile
