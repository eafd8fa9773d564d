#include "model/weight_binding.h"

#include <utility>

#include "base/error.h"
#include "formats/mxfp4.h"

namespace expertile {

Result<MatrixView> BindVector(const CheckpointTensors& tensors, const std::string& name,
                              int64_t n) {
  EXPERTILE_ASSIGN(const TensorView tensor, tensors.Require(name, {n}));
  return MatrixOf(tensor, name);
}

Result<MatrixView> BindMatrix(const CheckpointTensors& tensors, const std::string& name,
                              int64_t rows, int64_t cols) {
  EXPERTILE_ASSIGN(const TensorView tensor, tensors.Require(name, {rows, cols}));
  return MatrixOf(tensor, name);
}

Result<LinearView> BindLinear(const CheckpointTensors& tensors, const std::string& prefix,
                              int64_t out, int64_t in, bool has_bias) {
  LinearView linear;
  EXPERTILE_ASSIGN(linear.weight, BindMatrix(tensors, prefix + ".weight", out, in));
  if (has_bias) {
    EXPERTILE_ASSIGN(linear.bias, BindVector(tensors, prefix + ".bias", out));
  }
  return linear;
}

Result<DecoderWeights> BindDecoder(
    const DecoderSpec& spec, const CheckpointTensors& tensors, const std::string& prefix,
    Result<LayerWeights> (*bind_layer)(const DecoderSpec&, const CheckpointTensors&,
                                       const std::string& prefix, int index)) {
  DecoderWeights weights;
  const int64_t V = spec.vocab_size;
  const int64_t H = spec.hidden_size;
  EXPERTILE_ASSIGN(weights.embedding, BindMatrix(tensors, prefix + "embed_tokens.weight", V, H));
  EXPERTILE_ASSIGN(weights.final_norm, BindVector(tensors, prefix + "norm.weight", H));
  if (spec.tied_lm_head) {
    weights.lm_head = {weights.embedding, std::nullopt};
  } else {
    EXPERTILE_ASSIGN(weights.lm_head, BindLinear(tensors, "lm_head", V, H, /*has_bias=*/false));
  }
  for (int i = 0; i < static_cast<int>(spec.layers.size()); ++i) {
    const std::string layer_prefix = prefix + "layers." + std::to_string(i) + ".";
    EXPERTILE_ASSIGN(LayerWeights layer, bind_layer(spec, tensors, layer_prefix, i));
    weights.layers.push_back(std::move(layer));
  }
  return weights;
}

Result<MatrixView> BindMxfp4(const CheckpointTensors& tensors, const std::string& name,
                             const std::vector<int64_t>& shape, int64_t index) {
  const int64_t num_blocks = (shape[2] + kMxBlockSize - 1) / kMxBlockSize;
  EXPERTILE_ASSIGN(
      const TensorView blocks,
      tensors.Require(name + "_blocks", {shape[0], shape[1], num_blocks, kMxfp4BlockBytes}));
  EXPERTILE_ASSIGN(const TensorView scales,
                   tensors.Require(name + "_scales", {shape[0], shape[1], num_blocks}));
  if (shape[2] % kMxBlockSize != 0) {
    return InvalidData("{}_blocks: {} columns, expected a multiple of {}", name, shape[2],
                       kMxBlockSize);
  }
  return Mxfp4SliceOf(blocks, scales, index, name);
}

Status BindAttention(const DecoderSpec& decoder, int index, const CheckpointTensors& tensors,
                     const std::string& prefix, LayerWeights& layer) {
  const AttentionSpec& spec = AttentionOf(decoder.layers[index]);
  const int64_t H = decoder.hidden_size;
  const int64_t D = spec.head_dim;
  const std::string attention = prefix + "self_attn.";
  EXPERTILE_ASSIGN(layer.attention_norm, BindVector(tensors, prefix + "input_layernorm.weight", H));
  EXPERTILE_ASSIGN(layer.query,
                   BindLinear(tensors, attention + "q_proj", spec.num_heads * D, H, spec.has_bias));
  EXPERTILE_ASSIGN(layer.key, BindLinear(tensors, attention + "k_proj", spec.num_kv_heads * D, H,
                                         spec.has_bias));
  EXPERTILE_ASSIGN(layer.value, BindLinear(tensors, attention + "v_proj", spec.num_kv_heads * D, H,
                                           spec.has_bias));
  EXPERTILE_ASSIGN(layer.output,
                   BindLinear(tensors, attention + "o_proj", H, spec.num_heads * D, spec.has_bias));
  if (spec.query_key_norm) {
    EXPERTILE_ASSIGN(layer.query_norm, BindVector(tensors, attention + "q_norm.weight", D));
    EXPERTILE_ASSIGN(layer.key_norm, BindVector(tensors, attention + "k_norm.weight", D));
  }
  if (spec.has_sinks) {
    EXPERTILE_ASSIGN(layer.sinks, BindVector(tensors, attention + "sinks", spec.num_heads));
  }
  EXPERTILE_ASSIGN(layer.mlp_norm,
                   BindVector(tensors, prefix + "post_attention_layernorm.weight", H));
  return {};
}

Result<ExpertView> BindGatedMlp(const CheckpointTensors& tensors, const std::string& prefix,
                                int64_t intermediate, int64_t hidden) {
  ExpertView mlp;
  EXPERTILE_ASSIGN(mlp.gate, BindLinear(tensors, prefix + ".gate_proj", intermediate, hidden,
                                        /*has_bias=*/false));
  EXPERTILE_ASSIGN(
      mlp.up, BindLinear(tensors, prefix + ".up_proj", intermediate, hidden, /*has_bias=*/false));
  EXPERTILE_ASSIGN(mlp.down, BindLinear(tensors, prefix + ".down_proj", hidden, intermediate,
                                        /*has_bias=*/false));
  return mlp;
}

Result<GateUp> SplitGateUp(const MatrixView& fused, GateUpOrder order) {
  const int64_t intermediate = fused.rows / 2;
  const bool interleaved = order == GateUpOrder::kInterleaved;
  const int64_t step = interleaved ? 2 : 1;
  GateUp split;
  EXPERTILE_ASSIGN(split.gate, fused.Rows(0, intermediate, step));
  EXPERTILE_ASSIGN(split.up, fused.Rows(interleaved ? 1 : intermediate, intermediate, step));
  return split;
}

Result<std::vector<ExpertView>> BindFusedExperts(const CheckpointTensors& tensors,
                                                 const FusedExperts& names, int64_t num_experts,
                                                 int64_t intermediate, int64_t hidden) {
  const bool by_output = names.orientation == ExpertOrientation::kOutputMajor;
  const auto shape = [&](int64_t out, int64_t in) -> std::vector<int64_t> {
    return by_output ? std::vector{num_experts, out, in} : std::vector{num_experts, in, out};
  };
  EXPERTILE_ASSIGN(const TensorView gate_up,
                   tensors.Require(names.gate_up, shape(2 * intermediate, hidden)));
  EXPERTILE_ASSIGN(const TensorView down, tensors.Require(names.down, shape(hidden, intermediate)));
  std::vector<ExpertView> experts(num_experts);
  for (int64_t e = 0; e < num_experts; ++e) {
    EXPERTILE_ASSIGN(const MatrixView gate_up_slice, SliceOf(gate_up, e, names.gate_up));
    EXPERTILE_ASSIGN(const MatrixView down_slice, SliceOf(down, e, names.down));
    EXPERTILE_ASSIGN(
        const GateUp split,
        SplitGateUp(by_output ? gate_up_slice : gate_up_slice.Transposed(), names.order));
    experts[e].gate.weight = split.gate;
    experts[e].up.weight = split.up;
    experts[e].down.weight = by_output ? down_slice : down_slice.Transposed();
  }
  return experts;
}

}  // namespace expertile
