// A checkpoint's weights as initialisers of a graph, in bounded memory, and the names that Ops know
// them by. Not which weights there are (model/decoder_weights.h) nor what is computed of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dispatch/placement.h"
#include "formats/checkpoint_tensors.h"
#include "model/weight.h"
#include "targets/onnx/graph_builder.h"

namespace expertile::onnx_target {

struct GraphVector {
  std::string name;
  int64_t size = 0;
};

struct GraphTable {
  std::string name;  // [rows, width]
  int64_t width = 0;
};

struct GraphMatrix {
  std::string weight;  // [in, out]
  std::string bias;    // [out], or empty
  int64_t out = 0;
};

// Matrices NAME.gate.0 and so on, [in, out]; biases NAME.gate.bias.0.
struct GraphMlp {
  std::string name;
  bool has_bias = false;
};

// Matrices NAME.gate and so on as their layout says; biases NAME.gate.bias.
struct GraphExperts {
  std::string name;
  bool has_bias = false;
  int64_t num_experts = 0;
  int64_t hidden_size = 0;
};

// How a layer's way through its experts wants each of their matrices.
enum class ExpertLayout {
  kOneByOne,  // NAME.gate.3 [in,out], one an expert
  kBySlot,    // NAME.gate.slot1 [N,in,out], zeros where an NSP has no expert in the slot
  kTogether,  // NAME.gate [E,in,out]
};

// A visitor of views and of places for Ops' weights (VisitWeights()). Gives back the checkpoint's
// pages after every group: what is resident of it is one layer at most.
class WeightAdder {
 public:
  // `placement` is there for kBySlot.
  WeightAdder(GraphBuilder& graph, const CheckpointTensors& tensors, ExpertLayout layout,
              std::optional<Placement> placement, LayerProgress progress)
      : graph_(graph),
        tensors_(tensors),
        layout_(layout),
        placement_(placement),
        progress_(std::move(progress)) {}

  Status BeginGroup(const std::string&) {
    tensors_.ReleasePages();
    return progress_.BeginGroup();
  }
  template <typename Slot>
  Status operator()(const Weight& weight, const WeightView& view, Slot& slot) {
    NameIn(weight, slot);
    return Pack(weight.name, view, weight.role);
  }

 private:
  static void NameIn(const Weight& weight, GraphVector& slot);
  static void NameIn(const Weight& weight, GraphTable& slot);
  static void NameIn(const Weight& weight, GraphMatrix& slot);
  static void NameIn(const Weight& weight, GraphMlp& slot);
  static void NameIn(const Weight& weight, GraphExperts& slot);

  Status Pack(const std::string& name, const WeightView& view, WeightRole role);
  // One matrix of every expert, in `layout`.
  Status AddLinears(const std::string& name, std::span<const MlpView> mlps,
                    LinearView MlpView::*part, ExpertLayout layout);
  Status AddTogether(const std::string& name, const std::string& suffix,
                     const std::vector<const LinearView*>& linears);
  // Matrices [out,in], each transposed, one after another; null is zeros.
  Status AddMatrices(const std::string& name, const std::vector<int64_t>& shape,
                     const std::vector<const MatrixView*>& matrices);
  Status AddVectors(const std::string& name, const std::vector<int64_t>& shape,
                    const std::vector<const MatrixView*>& vectors);

  GraphBuilder& graph_;
  const CheckpointTensors& tensors_;
  ExpertLayout layout_;
  std::optional<Placement> placement_;
  LayerProgress progress_;
};

}  // namespace expertile::onnx_target
