// Checkpoints of every family, a few dozen kilobytes each, made up in memory.
// Not models that say anything: their weights are drawn at random.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/safetensors_writer.h"

namespace expertile::fuzz {

// The shapes of all families; odd ones where nothing forbids them.
inline constexpr int64_t V = 41;  // tokens
inline constexpr int64_t H = 32;  // a multiple of 32, as MXFP4 needs
inline constexpr int64_t D = 10;  // of a head
inline constexpr int64_t kHeads = 4;
inline constexpr int64_t kKvHeads = 2;
inline constexpr int64_t I = 32;
inline constexpr int64_t kDenseI = 23;
inline constexpr int64_t E = 7;
inline constexpr int kLayers = 3;
inline constexpr int32_t kImageToken = 40;

struct TinyCheckpoint {
  std::string config;                      // config.json
  std::vector<TensorDeclaration> tensors;  // bfloat16, or MXFP4's bytes
  std::vector<std::byte> data;             // of all tensors in order

  void Add(const std::string& name, std::vector<int64_t> shape, DType dtype = DType::kBF16) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    for (int64_t i = 0; i < count; ++i) Append(dtype, name.ends_with("_scales"));
    tensors.push_back({name, dtype, std::move(shape)});
  }
  void AddLinear(const std::string& name, int64_t out, int64_t in, bool has_bias) {
    Add(name + ".weight", {out, in});
    if (has_bias) Add(name + ".bias", {out});
  }

 private:
  void Append(DType dtype, bool is_scale) {
    if (dtype == DType::kU8) {
      data.push_back(static_cast<std::byte>(is_scale ? 120 + random_() % 8 : random_() % 256));
      return;
    }
    const float value = static_cast<float>(random_() % 2001) / 4000.0f - 0.25f;
    const uint16_t bits = FloatToBFloat16(value);
    data.push_back(static_cast<std::byte>(bits & 0xff));
    data.push_back(static_cast<std::byte>(bits >> 8));
  }

  std::mt19937 random_{7};
};

inline std::string Fields(int64_t layers) {
  return R"("hidden_size":32,"vocab_size":41,"head_dim":10,"num_attention_heads":4,
            "num_key_value_heads":2,"max_position_embeddings":256,"num_experts_per_tok":3,
            "num_hidden_layers":)" +
         std::to_string(layers);
}

inline void AddAttention(const std::string& layer, bool has_bias, bool has_norms,
                         TinyCheckpoint& tiny) {
  const std::string attention = layer + "self_attn.";
  tiny.Add(layer + "input_layernorm.weight", {H});
  tiny.Add(layer + "post_attention_layernorm.weight", {H});
  tiny.AddLinear(attention + "q_proj", kHeads * D, H, has_bias);
  tiny.AddLinear(attention + "k_proj", kKvHeads * D, H, has_bias);
  tiny.AddLinear(attention + "v_proj", kKvHeads * D, H, has_bias);
  tiny.AddLinear(attention + "o_proj", H, kHeads * D, has_bias);
  if (!has_norms) return;
  tiny.Add(attention + "q_norm.weight", {D});
  tiny.Add(attention + "k_norm.weight", {D});
}

inline void AddGatedMlp(const std::string& name, int64_t intermediate, TinyCheckpoint& tiny) {
  tiny.AddLinear(name + ".gate_proj", intermediate, H, false);
  tiny.AddLinear(name + ".up_proj", intermediate, H, false);
  tiny.AddLinear(name + ".down_proj", H, intermediate, false);
}

// Layer 1 is dense; all layers see a window.
inline TinyCheckpoint TinyQwen3Moe() {
  TinyCheckpoint tiny;
  tiny.config = R"({"model_type":"qwen3_moe","num_experts":7,"moe_intermediate_size":32,
                    "intermediate_size":23,"mlp_only_layers":[1],"norm_topk_prob":true,
                    "use_sliding_window":true,"sliding_window":5,)" +
                Fields(kLayers) + "}";
  tiny.Add("model.embed_tokens.weight", {V, H});
  for (int i = 0; i < kLayers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    AddAttention(layer, false, true, tiny);
    if (i == 1) {
      AddGatedMlp(layer + "mlp", kDenseI, tiny);
      continue;
    }
    tiny.AddLinear(layer + "mlp.gate", E, H, false);
    for (int e = 0; e < E; ++e) {
      AddGatedMlp(layer + "mlp.experts." + std::to_string(e), I, tiny);
    }
  }
  tiny.Add("model.norm.weight", {H});
  tiny.AddLinear("lm_head", V, H, false);
  return tiny;
}

inline TinyCheckpoint TinyGptOss(bool is_mxfp4) {
  TinyCheckpoint tiny;
  tiny.config = R"({"model_type":"gpt_oss","num_local_experts":7,"intermediate_size":32,
                    "sliding_window":4,)" +
                Fields(kLayers) + "}";
  tiny.Add("model.embed_tokens.weight", {V, H});
  for (int i = 0; i < kLayers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    AddAttention(layer, true, false, tiny);
    tiny.Add(layer + "self_attn.sinks", {kHeads});
    tiny.AddLinear(layer + "mlp.router", E, H, true);
    const std::string experts = layer + "mlp.experts.";
    if (is_mxfp4) {
      tiny.Add(experts + "gate_up_proj_blocks", {E, 2 * I, H / 32, 16}, DType::kU8);
      tiny.Add(experts + "gate_up_proj_scales", {E, 2 * I, H / 32}, DType::kU8);
      tiny.Add(experts + "down_proj_blocks", {E, H, I / 32, 16}, DType::kU8);
      tiny.Add(experts + "down_proj_scales", {E, H, I / 32}, DType::kU8);
    } else {
      tiny.Add(experts + "gate_up_proj", {E, H, 2 * I});
      tiny.Add(experts + "down_proj", {E, I, H});
    }
    tiny.Add(experts + "gate_up_proj_bias", {E, 2 * I});
    tiny.Add(experts + "down_proj_bias", {E, H});
  }
  tiny.Add("model.norm.weight", {H});
  tiny.AddLinear("lm_head", V, H, false);
  return tiny;
}

inline TinyCheckpoint TinyGraniteMoe() {
  TinyCheckpoint tiny;
  tiny.config = R"({"model_type":"granitemoe","num_local_experts":7,"intermediate_size":32,
                    "embedding_multiplier":12.0,"residual_multiplier":0.22,
                    "attention_multiplier":0.03125,"logits_scaling":6.0,
                    "tie_word_embeddings":true,)" +
                Fields(kLayers) + "}";
  tiny.Add("model.embed_tokens.weight", {V, H});
  for (int i = 0; i < kLayers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    AddAttention(layer, false, false, tiny);
    const std::string moe = layer + "block_sparse_moe.";
    tiny.Add(moe + "router.layer.weight", {E, H});
    tiny.Add(moe + "input_linear.weight", {E, 2 * I, H});
    tiny.Add(moe + "output_linear.weight", {E, H, I});
  }
  tiny.Add("model.norm.weight", {H});
  return tiny;
}

inline void AddLayerNorm(const std::string& name, int64_t size, TinyCheckpoint& tiny) {
  tiny.Add(name + ".weight", {size});
  tiny.Add(name + ".bias", {size});
}

inline void AddMerger(const std::string& name, int64_t norm_size, int64_t merged,
                      TinyCheckpoint& tiny) {
  AddLayerNorm(name + "norm", norm_size, tiny);
  tiny.AddLinear(name + "linear_fc1", merged, merged, true);
  tiny.AddLinear(name + "linear_fc2", H, merged, true);
}

inline void AddVisionTower(TinyCheckpoint& tiny) {
  constexpr int64_t kWidth = 24;
  constexpr int64_t kMerged = 4 * kWidth;
  const std::string visual = "model.visual.";
  tiny.AddLinear(visual + "patch_embed.proj", kWidth, 3 * 4 * 4, true);
  tiny.Add(visual + "pos_embed.weight", {9, kWidth});
  for (const char* block : {"blocks.0.", "blocks.1."}) {
    AddLayerNorm(visual + block + "norm1", kWidth, tiny);
    tiny.AddLinear(visual + block + "attn.qkv", 3 * kWidth, kWidth, true);
    tiny.AddLinear(visual + block + "attn.proj", kWidth, kWidth, true);
    AddLayerNorm(visual + block + "norm2", kWidth, tiny);
    tiny.AddLinear(visual + block + "mlp.linear_fc1", 17, kWidth, true);
    tiny.AddLinear(visual + block + "mlp.linear_fc2", kWidth, 17, true);
  }
  AddMerger(visual + "deepstack_merger_list.0.", kMerged, kMerged, tiny);
  AddMerger(visual + "merger.", kWidth, kMerged, tiny);
}

inline TinyCheckpoint TinyQwen3VlMoe() {
  TinyCheckpoint tiny;
  tiny.config = R"({"model_type":"qwen3_vl_moe","image_token_id":40,"vision_start_token_id":38,
      "vision_end_token_id":39,"text_config":{"num_experts":7,"moe_intermediate_size":32,
      "model_type":"qwen3_vl_moe_text","rope_scaling":{"mrope_section":[2,2,1]},)" +
                Fields(kLayers) +
                R"(},"vision_config":{"depth":2,"hidden_size":24,"num_heads":2,
      "intermediate_size":17,"out_hidden_size":32,"num_position_embeddings":9,"patch_size":4,
      "spatial_merge_size":2,"temporal_patch_size":1,"deepstack_visual_indexes":[0]}})";
  const std::string model = "model.language_model.";
  tiny.Add(model + "embed_tokens.weight", {V, H});
  for (int i = 0; i < kLayers; ++i) {
    const std::string layer = model + "layers." + std::to_string(i) + ".";
    AddAttention(layer, false, true, tiny);
    tiny.AddLinear(layer + "mlp.gate", E, H, false);
    tiny.Add(layer + "mlp.experts.gate_up_proj", {E, H, 2 * I});
    tiny.Add(layer + "mlp.experts.down_proj", {E, I, H});
  }
  tiny.Add(model + "norm.weight", {H});
  tiny.AddLinear("lm_head", V, H, false);
  AddVisionTower(tiny);
  return tiny;
}

}  // namespace expertile::fuzz
