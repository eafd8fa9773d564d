// Finding weights by name: the layouts in which published checkpoints store linears and experts.
// Not packing: views only, nothing is copied.
#pragma once

#include <string>
#include <vector>

#include "formats/checkpoint_tensors.h"
#include "model/decoder_spec.h"
#include "model/decoder_weights.h"

namespace expertile {

// A vector [n] as [1,n].
Result<MatrixView> BindVector(const CheckpointTensors& tensors, const std::string& name, int64_t n);

Result<MatrixView> BindMatrix(const CheckpointTensors& tensors, const std::string& name,
                              int64_t rows, int64_t cols);

// PREFIX.weight [out,in] and, if it has one, PREFIX.bias [out].
Result<LinearView> BindLinear(const CheckpointTensors& tensors, const std::string& prefix,
                              int64_t out, int64_t in, bool has_bias);

// A whole decoder: PREFIX embed_tokens, every layer by `bind_layer`, which gets the layer's own
// prefix
// ("PREFIX layers.3."), PREFIX norm, and lm_head unless it is tied to the embedding.
Result<DecoderWeights> BindDecoder(
    const DecoderSpec& spec, const CheckpointTensors& tensors, const std::string& prefix,
    Result<LayerWeights> (*bind_layer)(const DecoderSpec&, const CheckpointTensors&,
                                       const std::string& prefix, int index));

// Matrix `index` of the MXFP4 experts NAME_blocks and NAME_scales; `shape` is [E, out, in].
Result<MatrixView> BindMxfp4(const CheckpointTensors& tensors, const std::string& name,
                             const std::vector<int64_t>& shape, int64_t index);

// Layer `index`'s two norms and its attention under the names that most families use:
// PREFIX.input_layernorm, PREFIX.self_attn.q_proj …, q_norm, k_norm and sinks if the spec has them,
// PREFIX.post_attention_layernorm.
Status BindAttention(const DecoderSpec& spec, int index, const CheckpointTensors& tensors,
                     const std::string& prefix, LayerWeights& layer);

// PREFIX.gate_proj, up_proj and down_proj: one dense MLP, or one expert stored on its own.
Result<ExpertView> BindGatedMlp(const CheckpointTensors& tensors, const std::string& prefix,
                                int64_t intermediate, int64_t hidden);

// How a fused [gate; up] matrix holds its 2I outputs.
enum class GateUpOrder {
  kHalves,       // first I gate, then I up
  kInterleaved,  // gate, up, gate, up, …
};

// Which way the matrices of a fused expert tensor lie.
enum class ExpertOrientation {
  kOutputMajor,  // gate_up [E,2I,H], down [E,H,I]
  kInputMajor,   // gate_up [E,H,2I], down [E,I,H]
};

struct FusedExperts {
  std::string gate_up;  // tensor names
  std::string down;
  ExpertOrientation orientation = ExpertOrientation::kOutputMajor;
  GateUpOrder order = GateUpOrder::kHalves;
};

// The gate and up rows of a fused [2I, n] matrix, or of a [2I,1] bias.
struct GateUp {
  MatrixView gate;
  MatrixView up;
};
Result<GateUp> SplitGateUp(const MatrixView& fused, GateUpOrder order);

Result<std::vector<ExpertView>> BindFusedExperts(const CheckpointTensors& tensors,
                                                 const FusedExperts& names, int64_t num_experts,
                                                 int64_t intermediate, int64_t hidden);

}  // namespace expertile
