#include "compiling/describe.h"

#include <algorithm>
#include <map>
#include <string>

namespace expertile {
namespace {

int64_t CountOf(const LinearView& linear) {
  const int64_t bias = linear.bias ? linear.bias->cols : 0;
  return linear.weight.rows * linear.weight.cols + bias;
}

int64_t CountOf(const ExpertView& expert) {
  return CountOf(expert.gate) + CountOf(expert.up) + CountOf(expert.down);
}

int64_t CountOf(const std::optional<MatrixView>& vector) { return vector ? vector->cols : 0; }

// All of a layer's parameters but its experts'.
int64_t CountSharedIn(const LayerWeights& layer) {
  return layer.attention_norm.cols + CountOf(layer.query) + CountOf(layer.key) +
         CountOf(layer.value) + CountOf(layer.output) + CountOf(layer.query_norm) +
         CountOf(layer.key_norm) + CountOf(layer.sinks) + layer.mlp_norm.cols +
         (layer.router ? CountOf(*layer.router) : 0);
}

void CountParameters(const Checkpoint& checkpoint, ModelDescription& description) {
  const DecoderWeights& weights = checkpoint.weights;
  const int64_t embedding = weights.embedding.rows * weights.embedding.cols;
  const int64_t head = checkpoint.config.spec.tied_lm_head ? 0 : CountOf(weights.lm_head);
  int64_t total = embedding + head + weights.final_norm.cols;
  int64_t active = CountOf(weights.lm_head) + weights.final_norm.cols + weights.embedding.cols;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& layer = weights.layers[i];
    const int64_t shared = CountSharedIn(layer);
    const int64_t expert = CountOf(layer.experts[0]);
    const int64_t used = layer.router ? checkpoint.config.spec.moe.router.experts_per_token : 1;
    total += shared + expert * static_cast<int64_t>(layer.experts.size());
    active += shared + expert * used;
  }
  description.num_parameters = total;
  description.num_active_parameters = active;
}

int64_t CountOf(const LayerNormView& norm) { return norm.weight.cols + norm.bias.cols; }

int64_t CountOf(const VisionMergerWeights& merger) {
  return CountOf(merger.norm) + CountOf(merger.up) + CountOf(merger.down);
}

int64_t CountOf(const VisionWeights& weights) {
  int64_t total = CountOf(weights.patch_embedding) + CountOf(weights.merger) +
                  weights.position_embedding.rows * weights.position_embedding.cols;
  for (const VisionBlockWeights& block : weights.blocks) {
    total += CountOf(block.attention_norm) + CountOf(block.query) + CountOf(block.key) +
             CountOf(block.value) + CountOf(block.output) + CountOf(block.mlp_norm) +
             CountOf(block.up) + CountOf(block.down);
  }
  for (const VisionMergerWeights& merger : weights.deepstack) total += CountOf(merger);
  return total;
}

void DescribeVision(const Checkpoint& checkpoint, ModelDescription& description) {
  const VisionSpec& spec = checkpoint.config.vision->spec;
  const int64_t num_parameters = CountOf(*checkpoint.vision_weights);
  description.vision = {spec.num_blocks, spec.hidden_size, spec.num_heads,
                        spec.prompt.image_token_id, num_parameters};
  description.num_parameters += num_parameters;
}

void CountBytes(const CheckpointTensors& tensors, ModelDescription& description) {
  std::map<DType, int64_t> bytes;
  for (const std::string& name : tensors.names()) {
    const TensorView& tensor = *tensors.Find(name);
    bytes[tensor.dtype] += static_cast<int64_t>(tensor.bytes.size());
    description.checkpoint_bytes += static_cast<int64_t>(tensor.bytes.size());
  }
  const auto most =
      std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  if (most != bytes.end()) description.checkpoint_dtype = LongNameOf(most->first);
}

}  // namespace

ModelDescription Describe(const Checkpoint& checkpoint) {
  const DecoderSpec& spec = checkpoint.config.spec;
  const AttentionSpec& attention = AttentionOf(spec.layers[0]);
  ModelDescription description;
  description.model_type = spec.model_type;
  description.num_layers = static_cast<int>(spec.layers.size());
  description.num_moe_layers =
      static_cast<int>(std::ranges::count_if(spec.layers, &LayerSpec::is_moe));
  description.vocab_size = spec.vocab_size;
  description.hidden_size = spec.hidden_size;
  description.num_heads = attention.num_heads;
  description.num_kv_heads = attention.num_kv_heads;
  description.head_dim = attention.head_dim;
  description.max_positions = spec.max_positions;
  description.num_experts = spec.moe.num_experts;
  description.experts_per_token = spec.moe.router.experts_per_token;
  description.moe_intermediate_size = spec.moe.intermediate_size;
  description.end_token_ids = checkpoint.config.end_token_ids;
  CountParameters(checkpoint, description);
  if (checkpoint.config.vision) DescribeVision(checkpoint, description);
  CountBytes(checkpoint.tensors, description);
  return description;
}

}  // namespace expertile
