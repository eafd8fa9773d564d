// DecoderWeights<W>: the weights of a decoder, and the one table of them. W says what a weight is:
// CheckpointViews (where it lies), or a target's Ops (as it was prepared). Packing, opening,
// finding and counting weights all follow the table (docs/adding-a-weight.md). Not a computation.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "model/decoder_spec.h"
#include "model/weight.h"

namespace expertile {

// A weight that the spec does not ask for stays as it is made.
template <typename W>
struct AttentionWeights {
  using Spec = AttentionSpec;
  typename W::Linear query;       // [heads D, H]
  typename W::Linear key;         // [kv_heads D, H]
  typename W::Linear value;       // [kv_heads D, H]
  typename W::Linear output;      // [H, heads D]
  typename W::Vector query_norm;  // [D]
  typename W::Vector key_norm;    // [D]
  typename W::Vector sinks;       // [heads]
};

template <typename List, typename... Attentions>
void ListWeights(const AttentionSpec& spec, int64_t H, List& list, Attentions&... w) {
  using enum WeightRole;
  const int64_t D = spec.head_dim;
  const int64_t width = spec.num_heads * D;
  const int64_t kv_width = spec.num_kv_heads * D;
  list({"query", "self_attn.q_proj", kMatrix, width, H, spec.has_bias}, w.query...);
  list({"key", "self_attn.k_proj", kMatrix, kv_width, H, spec.has_bias}, w.key...);
  list({"value", "self_attn.v_proj", kMatrix, kv_width, H, spec.has_bias}, w.value...);
  list({"output", "self_attn.o_proj", kMatrix, H, width, spec.has_output_bias}, w.output...);
  if (spec.query_key_norm) {
    list(Weight::Vector("query_norm", "self_attn.q_norm.weight", D), w.query_norm...);
    list(Weight::Vector("key_norm", "self_attn.k_norm.weight", D), w.key_norm...);
  }
  if (spec.has_sinks) {
    list(Weight::Vector("sinks", "self_attn.sinks", spec.num_heads), w.sinks...);
  }
}

template <typename W>
struct MlpWeights {
  using Spec = MlpSpec;
  typename W::Mlp mlp;
};

template <typename List, typename... Mlps>
void ListWeights(const MlpSpec& spec, int64_t H, List& list, Mlps&... w) {
  // Programs have it under the name that it had as the one expert of its layer.
  list({"experts", "mlp", WeightRole::kMlp, spec.intermediate_size, H}, w.mlp...);
}

template <typename W>
struct MoeWeights {
  using Spec = MoeSpec;
  typename W::Linear router;       // [E,H]
  typename W::Experts experts;     // [E]
  typename W::Mlp shared;          // the shared expert
  typename W::Linear shared_gate;  // [1,H]
};

template <typename List, typename... Moes>
void ListWeights(const MoeSpec& spec, int64_t H, List& list, Moes&... w) {
  using enum WeightRole;
  list({"router", "", kRouter, spec.num_experts, H, spec.router.has_bias}, w.router...);
  list({"experts", "", kExperts, spec.intermediate_size, H, spec.has_bias, spec.num_experts},
       w.experts...);
  if (!spec.shared) return;
  list({"shared", "", kMlp, spec.shared->intermediate_size, H}, w.shared...);
  if (spec.shared->has_gate) list({"shared_gate", "", kRouter, 1, H}, w.shared_gate...);
}

// The alternatives are those of LayerSpec, each of which has a ListWeights().
template <typename W>
struct LayerWeights {
  typename W::Vector mixer_norm;  // [H]
  std::variant<AttentionWeights<W>> mixer;
  typename W::Vector mlp_norm;  // [H]
  std::variant<MlpWeights<W>, MoeWeights<W>> mlp;
};

template <typename Spec, typename... Parts>
consteval size_t IndexOfPart() {
  size_t index = 0;
  bool found = false;
  ((found = found || std::is_same_v<typename Parts::Spec, Spec>, index += found ? 0 : 1), ...);
  return index;
}

// The weights of `Spec`, which a part that is filled in becomes and one that is read holds.
template <typename Spec, typename... Parts>
const auto& PartOf(const std::variant<Parts...>& part) {
  return std::get<IndexOfPart<Spec, Parts...>()>(part);
}
template <typename Spec, typename... Parts>
auto& PartOf(std::variant<Parts...>& part) {
  constexpr size_t kIndex = IndexOfPart<Spec, Parts...>();
  if (part.index() != kIndex) part.template emplace<kIndex>();
  return std::get<kIndex>(part);
}

template <typename List, typename... Layers>
void ListWeights(const LayerSpec& spec, int64_t H, List& list, Layers&... w) {
  list(Weight::Vector("attention_norm", "input_layernorm.weight", H), w.mixer_norm...);
  std::visit([&]<typename Mixer>(
                 const Mixer& mixer) { ListWeights(mixer, H, list, PartOf<Mixer>(w.mixer)...); },
             spec.mixer);
  list(Weight::Vector("mlp_norm", "post_attention_layernorm.weight", H), w.mlp_norm...);
  std::visit(
      [&]<typename Mlp>(const Mlp& mlp) { ListWeights(mlp, H, list, PartOf<Mlp>(w.mlp)...); },
      spec.mlp);
}

template <typename W>
struct DecoderWeights {
  typename W::Embedding embedding;  // [V,H]
  std::vector<LayerWeights<W>> layers;
  typename W::Vector final_norm;  // [H]
  typename W::Linear lm_head;     // [V,H]; with tied embeddings the embedding's values
};

using DecoderViews = DecoderWeights<CheckpointViews>;
using LayerViews = LayerWeights<CheckpointViews>;
using MoeViews = MoeWeights<CheckpointViews>;

// Shows `visitor` every weight of `spec` in the order of the forward pass, each with its place in
// all of `decoders`: none (the table alone), one, or one to read and one to fill in. A layer is a
// group, so that who visits needs memory for one layer only.
template <typename Visitor, typename... Decoders>
Status VisitWeights(const DecoderSpec& spec, Visitor&& visitor, Decoders&... decoders) {
  WeightList list(visitor);
  list.BeginGroup("embedding");
  list({"embedding", "embed_tokens.weight", WeightRole::kEmbedding, spec.vocab_size,
        spec.hidden_size},
       decoders.embedding...);
  (WithSize(decoders.layers, spec.layers.size()), ...);
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string name = "layers." + std::to_string(i);
    list.BeginGroup(name);
    list.BeginPart(name + ".", name + ".");
    ListWeights(spec.layers[i], spec.hidden_size, list, decoders.layers[i]...);
  }
  list.BeginGroup("head");
  list.BeginPart("", "");
  list(Weight::Vector("final_norm", "norm.weight", spec.hidden_size), decoders.final_norm...);
  list({"lm_head", "", WeightRole::kHead, spec.vocab_size, spec.hidden_size}, decoders.lm_head...);
  return list.TakeStatus();
}

}  // namespace expertile
