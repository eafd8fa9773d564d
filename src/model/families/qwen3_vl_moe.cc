// Qwen3-VL-MoE: Qwen3-MoE's decoder with interleaved MRoPE and fused experts, and a vision tower
// whose rows stand in the place of image tokens. Source: transformers' modeling_qwen3_vl_moe.py.
#include <string>
#include <utility>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/family.h"
#include "model/rope_config.h"
#include "model/vision_checkpoint.h"
#include "model/weight_binding.h"

namespace expertile {
namespace {

constexpr DecoderDefaults kDefaults = {.vocab_size = 151936,
                                       .hidden_size = 2048,
                                       .num_layers = 24,
                                       .num_heads = 16,
                                       .num_kv_heads = 16,
                                       .null_head_dim = true,
                                       .max_positions = 128000};
constexpr MoeDefaults kMoeDefaults = {.intermediate_name = "moe_intermediate_size",
                                      .num_experts = 60,
                                      .experts_per_token = 4,
                                      .intermediate_size = 1408};
constexpr RopeDefaults kRopeDefaults = {.theta = 500000.0};

// Whether the LM head is tied stands beside text_config; inside it may only say the same.
Result<DecoderSpec> ReadConfig(const JsonObject& config) {
  EXPERTILE_ASSIGN(const JsonObject text, config.GetObjectOrEmpty("text_config"));
  DecoderSpec spec;
  EXPERTILE_RETURN_IF_ERROR(ReadDecoderShape(text, kDefaults, spec));
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"tie_word_embeddings"}));
  EXPERTILE_RETURN_IF_ERROR(
      config.RefuseDisagreement("tie_word_embeddings", text, "tie_word_embeddings"));
  EXPERTILE_ASSIGN(spec.tied_lm_head, config.GetBool("tie_word_embeddings", false));
  EXPERTILE_RETURN_IF_ERROR(RequireActivation(text, "silu"));
  EXPERTILE_ASSIGN(AttentionSpec attention, ReadAttention(text, kDefaults, spec.hidden_size));
  attention.query_key_norm = true;
  EXPERTILE_ASSIGN(spec.rope,
                   ReadMrope(text, {attention.head_dim, spec.max_positions}, kRopeDefaults));
  EXPERTILE_ASSIGN(spec.moe, ReadMoe(text, kMoeDefaults));
  spec.moe.router.score = RouterScore::kSoftmaxThenTopK;
  spec.moe.router.normalize = true;
  EXPERTILE_RETURN_IF_ERROR(ReadSparseLayers(text, kDefaults, attention, 5632, spec));
  return spec;
}

Result<ImagePromptSpec> ReadImagePrompt(const JsonObject& config, const JsonObject& vision) {
  ImagePromptSpec prompt;
  EXPERTILE_RETURN_IF_ERROR(
      config.RefuseNull({"image_token_id", "vision_start_token_id", "vision_end_token_id"}));
  EXPERTILE_RETURN_IF_ERROR(vision.RefuseNull({"spatial_merge_size"}));
  EXPERTILE_ASSIGN(prompt.image_token_id, config.GetInt("image_token_id", 151655));
  EXPERTILE_ASSIGN(prompt.start_token_id, config.GetInt("vision_start_token_id", 151652));
  EXPERTILE_ASSIGN(prompt.end_token_id, config.GetInt("vision_end_token_id", 151653));
  EXPERTILE_ASSIGN(prompt.merge_size, vision.GetInt("spatial_merge_size", 2, {1, 64}));
  return prompt;
}

Result<VisionSpec> ReadVision(const JsonObject& config) {
  EXPERTILE_ASSIGN(const JsonObject vision, config.GetObjectOrEmpty("vision_config"));
  EXPERTILE_ASSIGN(const JsonObject text, config.GetObjectOrEmpty("text_config"));
  EXPERTILE_ASSIGN(VisionSpec spec, ReadVisionConfig(vision));
  EXPERTILE_ASSIGN(const int64_t hidden_size, text.GetInt("hidden_size", kDefaults.hidden_size));
  if (spec.output_size != hidden_size) {
    return InvalidData(
        "config.json: vision_config.out_hidden_size: {}, text_config.hidden_size is {}",
        spec.output_size, hidden_size);
  }
  EXPERTILE_ASSIGN(spec.prompt, ReadImagePrompt(config, vision));
  return spec;
}

// Experts as published ([E,H,2I], [E,I,H]) or as transformers 5 writes them ([E,2I,H], [E,H,I]);
// the two differ in at least one of their tensors, whatever H and I.
ExpertOrientation OrientationOf(const DecoderSpec& spec, const CheckpointTensors& tensors,
                                const FusedExperts& names) {
  const int64_t H = spec.hidden_size;
  const int64_t I = spec.moe.intermediate_size;
  const auto is_input_major = [&](const std::string& name, int64_t out, int64_t in) {
    const TensorView* tensor = tensors.Find(name);
    return tensor != nullptr && tensor->shape.size() == 3 && tensor->shape[1] == in &&
           tensor->shape[2] == out;
  };
  return is_input_major(names.gate_up, 2 * I, H) && is_input_major(names.down, H, I)
             ? ExpertOrientation::kInputMajor
             : ExpertOrientation::kOutputMajor;
}

Status BindMoe(const DecoderSpec& spec, const CheckpointTensors& tensors, const std::string& layer,
               MoeViews& moe) {
  EXPERTILE_ASSIGN(moe.router, BindLinear(tensors, layer + "mlp.gate", spec.moe.num_experts,
                                          spec.hidden_size, /*has_bias=*/false));
  FusedExperts names{.gate_up = layer + "mlp.experts.gate_up_proj",
                     .down = layer + "mlp.experts.down_proj"};
  names.orientation = OrientationOf(spec, tensors, names);
  EXPERTILE_ASSIGN(moe.experts, BindFusedExperts(tensors, names, spec.moe.num_experts,
                                                 spec.moe.intermediate_size, spec.hidden_size));
  return {};
}

Result<DecoderViews> BindWeights(const DecoderSpec& spec, const CheckpointTensors& tensors) {
  return BindDecoder(spec, tensors, "model.language_model.", BindMoe);
}

Result<VisionViews> BindVision(const VisionSpec& spec, const CheckpointTensors& tensors) {
  return BindVisionTower(spec, tensors, "model.visual.");
}

}  // namespace

const Family kQwen3VlMoe = {"qwen3_vl_moe", ReadConfig, BindWeights, ReadVision, BindVision};

}  // namespace expertile
