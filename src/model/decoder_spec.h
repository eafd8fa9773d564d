// DecoderSpec: a Mixture-of-Experts decoder as plain data. Every switch is orthogonal; none names a
// model family. Not weights (model/decoder_weights.h) and not a computation (model/forward.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace expertile {

// Rotary position embedding, rotate-half convention: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin)
// over the two halves of a head. A row has a position on each of A axes; the angle of pair j is
// its position on axis axes[j], times inv_freq[j].
struct RopeSpec {
  std::vector<float> inv_freq;  // [D/2], any scaling (linear, YaRN) already applied
  float table_scale = 1.0f;     // multiplies both cos and sin (YaRN's attention factor)
  int num_axes = 1;             // A: 1 in text, 3 in MRoPE (time, height, width), 2 in images
  std::vector<int32_t> axes;    // [D/2], 0 <= axis < A; empty when A is 1

  int AxisOf(int64_t pair) const { return axes.empty() ? 0 : axes[pair]; }
};

enum class RouterScore {
  kSoftmaxThenTopK,  // probabilities over all E experts, of which the top K are kept
  kTopKThenSoftmax,  // the top K logits, then a softmax over those K
};

struct RouterSpec {
  int experts_per_token = 0;  // K
  bool has_bias = false;
  RouterScore score = RouterScore::kSoftmaxThenTopK;
  bool normalize = false;  // kSoftmaxThenTopK only: divide the K weights by their sum
};

enum class GatedActivation {
  kSilu,           // silu(gate) * up
  kClampedSwiGlu,  // (clamp(up, -limit, limit) + 1) * g * sigmoid(alpha * g), g = min(gate, limit)
};

struct GatedMlpSpec {
  GatedActivation activation = GatedActivation::kSilu;
  float limit = 0.0f;  // kClampedSwiGlu only
  float alpha = 1.0f;  // kClampedSwiGlu only
};

// A MLP that every token passes: down(act(gate(x), up(x))).
struct MlpSpec {
  int64_t intermediate_size = 0;  // I
  GatedMlpSpec gated;
};

// A MLP beside the experts that every token passes: it is added to the experts' sum.
struct SharedExpertSpec {
  int64_t intermediate_size = 0;
  bool has_gate = false;  // weighted by the sigmoid of a linear of the token; otherwise by 1
};

struct MoeSpec {
  int num_experts = 0;            // E
  int64_t intermediate_size = 0;  // I
  bool has_bias = false;          // of gate, up and down of every expert
  RouterSpec router;
  GatedMlpSpec gated;                      // of the experts, the shared one included
  std::optional<SharedExpertSpec> shared;  // several are one: their sizes add up
};

// Grouped-query attention: num_heads / num_kv_heads query heads share a key and a value.
struct AttentionSpec {
  int num_heads = 0;
  int num_kv_heads = 0;   // divides num_heads
  int64_t head_dim = 0;   // D
  int64_t window = 0;     // keys a query sees, itself included; 0 = all before it
  float scale = 1.0f;     // multiplies query-key products
  bool has_bias = false;  // of the query, key and value projections
  bool has_output_bias = false;
  bool query_key_norm = false;  // RMS norm over D of every query and key head, before RoPE
  bool has_sinks = false;       // a logit per head that joins the softmax's sum only
};

// A decoder layer mixes rows of a sequence, then transforms each row. Every alternative has its
// weights in model/decoder_weights.h and its branch in model/forward.h.
using MixerSpec = std::variant<AttentionSpec>;
using LayerMlpSpec = std::variant<MlpSpec, MoeSpec>;

struct LayerSpec {
  MixerSpec mixer;
  LayerMlpSpec mlp;

  bool is_moe() const { return std::holds_alternative<MoeSpec>(mlp); }
};

struct DecoderSpec {
  std::string model_type;  // for messages and manifests only: nothing branches on it
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;  // H
  int64_t max_positions = 0;
  float norm_epsilon = 1e-6f;
  RopeSpec rope;
  float embedding_scale = 1.0f;  // multiplies token embeddings
  float residual_scale = 1.0f;   // multiplies both branches of a layer before they are added
  float logits_scale = 1.0f;     // multiplies logits
  bool tied_lm_head = false;     // the LM head is the embedding table
  MoeSpec moe;                   // every MoE layer's, also where no layer is one
  std::vector<LayerSpec> layers;
};

// The attention of a layer that has it.
inline const AttentionSpec& AttentionOf(const LayerSpec& layer) {
  return std::get<AttentionSpec>(layer.mixer);
}

}  // namespace expertile
