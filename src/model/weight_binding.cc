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

Status TableBinder::operator()(const Weight& weight, MatrixView& slot) const {
  const std::string name = prefix_ + weight.tensor;
  if (weight.role == WeightRole::kVector) {
    EXPERTILE_ASSIGN(slot, BindVector(tensors_, name, weight.cols));
  } else {
    EXPERTILE_ASSIGN(slot, BindMatrix(tensors_, name, weight.rows, weight.cols));
  }
  return {};
}

Status TableBinder::operator()(const Weight& weight, LinearView& slot) const {
  if (weight.tensor.empty()) return {};
  EXPERTILE_ASSIGN(slot, BindLinear(tensors_, prefix_ + weight.tensor, weight.rows, weight.cols,
                                    weight.has_bias));
  return {};
}

Status TableBinder::operator()(const Weight& weight, MlpView& slot) const {
  if (weight.tensor.empty()) return {};
  EXPERTILE_ASSIGN(slot, BindMlp(tensors_, prefix_ + weight.tensor, weight.rows, weight.cols));
  return {};
}

Result<DecoderViews> BindDecoder(const DecoderSpec& spec, const CheckpointTensors& tensors,
                                 const std::string& prefix, MoeBinder bind_moe) {
  DecoderViews views;
  EXPERTILE_RETURN_IF_ERROR(VisitWeights(spec, TableBinder(tensors, prefix), views));
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    if (!spec.layers[i].is_moe()) continue;
    const std::string layer = prefix + "layers." + std::to_string(i) + ".";
    EXPERTILE_RETURN_IF_ERROR(bind_moe(spec, tensors, layer, PartOf<MoeSpec>(views.layers[i].mlp)));
  }
  if (spec.tied_lm_head) {
    views.lm_head = {views.embedding, std::nullopt};
  } else {
    EXPERTILE_ASSIGN(views.lm_head, BindLinear(tensors, "lm_head", spec.vocab_size,
                                               spec.hidden_size, /*has_bias=*/false));
  }
  return views;
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

Result<MlpView> BindMlp(const CheckpointTensors& tensors, const std::string& prefix,
                        int64_t intermediate, int64_t hidden) {
  MlpView mlp;
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

Result<std::vector<MlpView>> BindExperts(const DecoderSpec& spec, const CheckpointTensors& tensors,
                                         const std::string& prefix) {
  const int64_t H = spec.hidden_size;
  const int64_t I = spec.moe.intermediate_size;
  const FusedExperts names{.gate_up = prefix + "gate_up_proj", .down = prefix + "down_proj"};
  if (tensors.Find(names.gate_up) != nullptr) {
    return BindFusedExperts(tensors, names, spec.moe.num_experts, I, H);
  }
  std::vector<MlpView> experts(spec.moe.num_experts);
  for (size_t e = 0; e < experts.size(); ++e) {
    EXPERTILE_ASSIGN(experts[e], BindMlp(tensors, prefix + std::to_string(e), I, H));
  }
  return experts;
}

Result<std::vector<MlpView>> BindFusedExperts(const CheckpointTensors& tensors,
                                              const FusedExperts& names, int64_t num_experts,
                                              int64_t intermediate, int64_t hidden) {
  const bool by_output = names.orientation == ExpertOrientation::kOutputMajor;
  const auto shape = [&](int64_t out, int64_t in) -> std::vector<int64_t> {
    return by_output ? std::vector{num_experts, out, in} : std::vector{num_experts, in, out};
  };
  EXPERTILE_ASSIGN(const TensorView gate_up,
                   tensors.Require(names.gate_up, shape(2 * intermediate, hidden)));
  EXPERTILE_ASSIGN(const TensorView down, tensors.Require(names.down, shape(hidden, intermediate)));
  std::vector<MlpView> experts(num_experts);
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
