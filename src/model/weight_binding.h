// Finding weights by name: the layouts in which published checkpoints store linears and experts.
// Not packing: views only, nothing is copied.
#pragma once

#include <string>
#include <utility>
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

// A visitor of views (VisitWeights()) that finds each weight under the tensor's name that its table
// gives, after `prefix`; those that the table leaves to the family it passes over.
class TableBinder {
 public:
  TableBinder(const CheckpointTensors& tensors, std::string prefix)
      : tensors_(tensors), prefix_(std::move(prefix)) {}

  Status BeginGroup(const std::string&) { return {}; }
  Status operator()(const Weight& weight, MatrixView& slot) const;
  Status operator()(const Weight& weight, LinearView& slot) const;
  Status operator()(const Weight& weight, MlpView& slot) const;
  Status operator()(const Weight&, std::vector<MlpView>&) const { return {}; }

 private:
  const CheckpointTensors& tensors_;
  std::string prefix_;
};

// What of a MoE layer the table leaves to the family; `layer` is the layer's prefix.
using MoeBinder = Status (*)(const DecoderSpec& spec, const CheckpointTensors& tensors,
                             const std::string& layer, MoeViews& moe);

// A whole decoder: what the table names under PREFIX, the MoE layers' own by `bind_moe` under
// "PREFIX layers.3.", and lm_head unless it is tied to the embedding.
Result<DecoderViews> BindDecoder(const DecoderSpec& spec, const CheckpointTensors& tensors,
                                 const std::string& prefix, MoeBinder bind_moe);

// Matrix `index` of the MXFP4 experts NAME_blocks and NAME_scales; `shape` is [E, out, in].
Result<MatrixView> BindMxfp4(const CheckpointTensors& tensors, const std::string& name,
                             const std::vector<int64_t>& shape, int64_t index);

// PREFIX.gate_proj, up_proj and down_proj: a MLP, or one expert stored on its own.
Result<MlpView> BindMlp(const CheckpointTensors& tensors, const std::string& prefix,
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

// Qwen's experts under PREFIX: one by one (3.gate_proj and so on), or fused as transformers 5
// writes them.
Result<std::vector<MlpView>> BindExperts(const DecoderSpec& spec, const CheckpointTensors& tensors,
                                         const std::string& prefix);

Result<std::vector<MlpView>> BindFusedExperts(const CheckpointTensors& tensors,
                                              const FusedExperts& names, int64_t num_experts,
                                              int64_t intermediate, int64_t hidden);

}  // namespace expertile
