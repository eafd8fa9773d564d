// Describe: a checkpoint or a program in numbers.
#include <algorithm>
#include <map>
#include <string>

#include "compiling/compile.h"

namespace expertile {
namespace {

// Counts parameters: all of them, and those that one token's forward pass uses.
struct ParameterCount {
  const DecoderSpec& spec;
  int64_t total = 0;
  int64_t active = 0;

  Status BeginGroup(const std::string&) { return {}; }
  Status operator()(const Weight& weight) {
    const int64_t num_elements = weight.NumElements();
    const bool is_tied = weight.role == WeightRole::kHead && spec.tied_lm_head;
    total += is_tied ? 0 : num_elements;
    if (weight.role == WeightRole::kEmbedding) {
      active += weight.cols;
    } else if (weight.role == WeightRole::kExperts) {
      active += num_elements / weight.count * spec.moe.router.experts_per_token;
    } else {
      active += num_elements;
    }
    return {};
  }
};

// `spec` is a decoder's or a tower's.
template <typename Spec>
ParameterCount Count(const Spec& spec, const DecoderSpec& decoder) {
  ParameterCount count{decoder};
  static_cast<void>(VisitWeights(spec, count));  // counting does not fail
  return count;
}

void CountParameters(const ModelConfig& config, ModelDescription& description) {
  const ParameterCount decoder = Count(config.spec, config.spec);
  description.num_parameters = decoder.total;
  description.num_active_parameters = decoder.active;
  if (!config.vision) return;
  const VisionSpec& spec = config.vision->spec;
  const ParameterCount tower = Count(spec, config.spec);
  description.vision = {spec.num_blocks, spec.hidden_size,
                        spec.num_heads,  spec.prompt.image_token_id,
                        tower.total,     spec.prompt.merge_size};
  description.num_parameters += tower.total;
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

ModelDescription DescribeShape(const ModelConfig& config) {
  const DecoderSpec& spec = config.spec;
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
  description.end_token_ids = config.end_token_ids;
  CountParameters(config, description);
  return description;
}

}  // namespace

ModelDescription Describe(const Checkpoint& checkpoint) {
  ModelDescription description = DescribeShape(checkpoint.config);
  CountBytes(checkpoint.tensors, description);
  return description;
}

ModelDescription Describe(const ModelConfig& config) { return DescribeShape(config); }

}  // namespace expertile
