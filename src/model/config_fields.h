// The fields of config.json that families share, read into a DecoderSpec.
// Not family-specific meaning: that stands in families/*.cc.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "expertile/result.h"
#include "formats/json.h"
#include "model/decoder_spec.h"

namespace expertile {

// Bounds that keep every product of two sizes inside int64 and refuse nonsense early.
inline constexpr int64_t kMaxDimension = int64_t{1} << 30;
inline constexpr int64_t kMaxLayers = 10'000;
inline constexpr int64_t kMaxExperts = 100'000;

// What fields that are left out mean, as transformers' configuration class of the family has it. A
// null is refused, as it is there, but where the comment says otherwise.
struct DecoderDefaults {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  // None: num_attention_heads, and null means that, too.
  std::optional<int64_t> num_kv_heads = std::nullopt;
  std::optional<int64_t> head_dim = std::nullopt;  // none: hidden_size / num_attention_heads
  bool null_head_dim = false;                      // whether null means that
  int64_t max_positions = 0;
  double norm_epsilon = 1e-6;
  std::string_view bias_name = "attention_bias";  // of the field that says has_bias
  bool has_bias = false;
  // tie_word_embeddings is false everywhere.
};

// vocab_size, hidden_size, max_position_embeddings, rms_norm_eps, tie_word_embeddings.
Status ReadDecoderShape(const JsonObject& config, const DecoderDefaults& defaults,
                        DecoderSpec& spec);

// Heads, head_dim and the bias; the scale is D^-0.5.
Result<AttentionSpec> ReadAttention(const JsonObject& config, const DecoderDefaults& defaults,
                                    int64_t hidden_size);

struct MoeDefaults {
  std::string_view intermediate_name;  // of the field that holds I
  int64_t num_experts = 0;
  int64_t experts_per_token = 0;
  int64_t intermediate_size = 0;
};

// E (num_experts or num_local_experts, which transformers takes for one another), K
// (num_experts_per_tok, at most E) and I.
Result<MoeSpec> ReadMoe(const JsonObject& config, const MoeDefaults& defaults);

// num_hidden_layers
Result<int64_t> ReadNumLayers(const JsonObject& config, const DecoderDefaults& defaults);

// num_hidden_layers layers of one mixer, of which every decoder_sparse_step-th has spec.moe unless
// mlp_only_layers names it; the others have a MLP of intermediate_size.
Status ReadSparseLayers(const JsonObject& config, const DecoderDefaults& defaults,
                        const MixerSpec& mixer, int64_t default_intermediate_size,
                        DecoderSpec& spec);

// Of each layer of layer_types whether it is "sliding_attention", else "full_attention"; `fallback`
// where it is left out, which has as many entries as there are layers.
Result<std::vector<bool>> ReadSlidingLayers(const JsonObject& config, std::vector<bool> fallback);

// An integer under either of two names. Refuses a null, and values that differ.
Result<int64_t> GetAliasedInt(const JsonObject& config, std::string_view name,
                              std::string_view alias, int64_t fallback, Bounds<int64_t> bounds);

// Refuses a hidden_act that is not `expected`, which is also what leaving it out means.
Status RequireActivation(const JsonObject& config, std::string_view expected);

}  // namespace expertile
