// The fields of config.json that families share, read into a DecoderSpec.
// Not family-specific meaning: that stands in families/*.cc.
#pragma once

#include <initializer_list>
#include <string_view>

#include "expertile/result.h"
#include "formats/json.h"
#include "model/decoder_spec.h"

namespace expertile {

// Bounds that keep every product of two sizes inside int64 and refuse nonsense early.
inline constexpr int64_t kMaxDimension = int64_t{1} << 30;
inline constexpr int64_t kMaxLayers = 10'000;
inline constexpr int64_t kMaxExperts = 100'000;

// vocab_size, hidden_size, max_position_embeddings, rms_norm_eps, tie_word_embeddings.
Status ReadDecoderShape(const JsonObject& config, DecoderSpec& spec);

// Heads, head_dim (else hidden_size / heads) and attention_bias; the scale is D^-0.5.
Result<AttentionSpec> ReadAttention(const JsonObject& config, int64_t hidden_size,
                                    bool default_bias = false);

// E under the first of `expert_names` that is there, K (num_experts_per_tok, at most E) and I
// (`intermediate_name`).
Result<MoeSpec> ReadMoe(const JsonObject& config,
                        std::initializer_list<std::string_view> expert_names,
                        std::string_view intermediate_name);

// num_hidden_layers layers of one mixer, of which every decoder_sparse_step-th has spec.moe unless
// mlp_only_layers names it; the others have a MLP of intermediate_size.
Status ReadSparseLayers(const JsonObject& config, const MixerSpec& mixer,
                        int64_t default_intermediate_size, DecoderSpec& spec);

// num_hidden_layers
Result<int64_t> ReadNumLayers(const JsonObject& config);

// Refuses a hidden_act other than `expected`.
Status RequireActivation(const JsonObject& config, std::string_view expected);

}  // namespace expertile
