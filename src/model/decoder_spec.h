// DecoderSpec: a Mixture-of-Experts decoder as plain data. Every switch is orthogonal; none names a
// model family. Not weights (model/decoder_weights.h) and not a computation (model/forward.h).
#pragma once

#include <cstdint>
#include <string>
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

struct MoeSpec {
  int num_experts = 0;            // E
  int64_t intermediate_size = 0;  // I
  RouterSpec router;
  GatedMlpSpec mlp;
};

struct LayerSpec {
  int64_t attention_window = 0;  // keys a query sees, itself included; 0 = all before it
  bool is_moe = true;            // otherwise a dense MLP
};

struct DecoderSpec {
  std::string model_type;  // for messages and manifests only: nothing branches on it
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;  // H
  int num_heads = 0;
  int num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;  // D
  int64_t max_positions = 0;
  float norm_epsilon = 1e-6f;
  RopeSpec rope;
  bool attention_bias = false;        // of the query, key, value and output projections
  bool query_key_norm = false;        // RMS norm over D of every query and key head, before RoPE
  bool attention_sinks = false;       // a logit per head that joins the softmax's sum only
  float attention_scale = 1.0f;       // multiplies query-key products
  float embedding_scale = 1.0f;       // multiplies token embeddings
  float residual_scale = 1.0f;        // multiplies both branches of a layer before they are added
  float logits_scale = 1.0f;          // multiplies logits
  bool tied_lm_head = false;          // the LM head is the embedding table
  int64_t mlp_intermediate_size = 0;  // of dense layers; 0 when there are none
  MoeSpec moe;
  std::vector<LayerSpec> layers;
};

}  // namespace expertile
