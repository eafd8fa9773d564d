#include "model/config_fields.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"

namespace expertile {

Status ReadDecoderShape(const JsonObject& config, DecoderSpec& spec) {
  EXPERTILE_ASSIGN(spec.model_type, config.GetString("model_type"));
  EXPERTILE_ASSIGN(spec.vocab_size, config.GetInt("vocab_size", kRequired, {1, kMaxDimension}));
  EXPERTILE_ASSIGN(spec.hidden_size, config.GetInt("hidden_size", kRequired, {1, kMaxDimension}));
  EXPERTILE_ASSIGN(spec.num_heads, config.GetInt("num_attention_heads", kRequired, {1, 65536}));
  EXPERTILE_ASSIGN(spec.num_kv_heads,
                   config.GetInt("num_key_value_heads", spec.num_heads, {1, 65536}));
  EXPERTILE_ASSIGN(spec.head_dim,
                   config.GetInt("head_dim", spec.hidden_size / spec.num_heads, {1, 65536}));
  EXPERTILE_ASSIGN(spec.max_positions,
                   config.GetInt("max_position_embeddings", kRequired, {1, kMaxDimension}));
  EXPERTILE_ASSIGN(spec.tied_lm_head, config.GetBool("tie_word_embeddings", false));
  EXPERTILE_ASSIGN(const double epsilon, config.GetFloat("rms_norm_eps", 1e-6, {0.0, 1.0}));
  spec.norm_epsilon = static_cast<float>(epsilon);
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

Status ReadMoeShape(const JsonObject& config, std::initializer_list<std::string_view> expert_names,
                    std::string_view intermediate_name, DecoderSpec& spec) {
  std::string_view name = *expert_names.begin();
  for (const std::string_view candidate : expert_names) {
    if (config.Has(candidate)) name = candidate;
  }
  EXPERTILE_ASSIGN(spec.moe.num_experts, config.GetInt(name, kRequired, {1, kMaxExperts}));
  EXPERTILE_ASSIGN(spec.moe.router.experts_per_token,
                   config.GetInt("num_experts_per_tok", kRequired, {1, spec.moe.num_experts}));
  EXPERTILE_ASSIGN(spec.moe.intermediate_size,
                   config.GetInt(intermediate_name, kRequired, {1, kMaxDimension}));
  return {};
}

Status ReadSparseLayers(const JsonObject& config, DecoderSpec& spec) {
  EXPERTILE_ASSIGN(const int64_t num_layers,
                   config.GetInt("num_hidden_layers", kRequired, {1, kMaxLayers}));
  EXPERTILE_ASSIGN(const std::vector<int64_t> mlp_only, config.GetIntList("mlp_only_layers"));
  EXPERTILE_ASSIGN(const int64_t sparse_step,
                   config.GetInt("decoder_sparse_step", 1, {1, kMaxLayers}));
  for (int64_t i = 0; i < num_layers; ++i) {
    const bool is_dense = std::ranges::find(mlp_only, i) != mlp_only.end();
    spec.layers.push_back({.is_moe = !is_dense && (i + 1) % sparse_step == 0});
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
