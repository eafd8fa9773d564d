// Weight: what is to be known of one weight of a model: role, shape, names; and views of where its
// values lie in a checkpoint. Not which weights a model has: model/decoder_weights.h,
// model/vision_weights.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/watch.h"
#include "formats/matrix_view.h"

namespace expertile {

// What a weight is for. A target chooses how to store it by this and by the checkpoint's format.
enum class WeightRole {
  kVector,        // [cols]: of norms, sinks
  kEmbedding,     // [rows,cols]: a table whose rows are looked up
  kMatrix,        // [rows,cols]: a product of attention
  kRouter,        // [rows,cols]: a product that decides; it is not rounded
  kHead,          // [rows,cols]: the LM head
  kVisionMatrix,  // [rows,cols]: a product of a vision tower
  kMlp,           // gate and up [rows,cols], down [cols,rows]
  kExperts,       // `count` of them
};

struct Weight {
  std::string name;    // in a program: "layers.3.query"
  std::string tensor;  // in a checkpoint, for a matrix without .weight and .bias; empty where
                       // families differ
  WeightRole role = WeightRole::kVector;
  int64_t rows = 1;
  int64_t cols = 0;
  bool has_bias = false;  // a product's [rows]; a MLP's three
  int64_t count = 1;

  static Weight Vector(std::string name, std::string tensor, int64_t size) {
    return {std::move(name), std::move(tensor), WeightRole::kVector, 1, size};
  }

  // Values, biases included.
  int64_t NumElements() const {
    const bool is_mlp = role == WeightRole::kMlp || role == WeightRole::kExperts;
    const int64_t bias = has_bias ? (is_mlp ? 2 * rows + cols : rows) : 0;
    return count * ((is_mlp ? 3 : 1) * rows * cols + bias);
  }
};

struct LinearView {
  MatrixView weight;               // [out,in]
  std::optional<MatrixView> bias;  // [1,out]
};

struct MlpView {
  LinearView gate;  // [I,H]
  LinearView up;    // [I,H]
  LinearView down;  // [H,I]
};

// Weights as they lie in a checkpoint: the `W` of DecoderWeights<W> and VisionWeights<W> that a
// family fills in. Valid as long as the checkpoint's files are mapped.
struct CheckpointViews {
  using Vector = MatrixView;  // [1,n]
  using Embedding = MatrixView;
  using Linear = LinearView;
  using Mlp = MlpView;
  using Experts = std::vector<MlpView>;
};

// One weight of any role, as a packer takes it.
struct WeightView {
  WeightView(const MatrixView& matrix) : linear{matrix, std::nullopt} {}  // NOLINT: any view is one
  WeightView(const LinearView& view) : linear(view) {}                    // NOLINT
  WeightView(const MlpView& mlp) : mlps(&mlp, 1) {}                       // NOLINT
  WeightView(const std::vector<MlpView>& experts) : mlps(experts) {}      // NOLINT

  LinearView linear;              // a vector, a table or a matrix
  std::span<const MlpView> mlps;  // one, or a layer's experts
};

// The weights of a model one after another, as its table lists them, for a visitor that may fail:
// it is asked no more after its first error. A Visitor has
//   Status BeginGroup(const std::string& group): what follows belongs together ("layers.3"),
//   Status operator()(const Weight& weight, Slots&... slots): one weight with all of its name, and
//   its place in every structure that is visited.
template <typename Visitor>
class WeightList {
 public:
  explicit WeightList(Visitor& visitor) : visitor_(visitor) {}

  void BeginGroup(const std::string& group) {
    if (status_) status_ = visitor_.BeginGroup(group);
  }
  // What the names of the weights that follow begin with, in a program and in a checkpoint.
  void BeginPart(std::string name, std::string tensor) {
    name_ = std::move(name);
    tensor_ = std::move(tensor);
  }
  template <typename... Slots>
  void operator()(Weight weight, Slots&... slots) {
    if (!status_) return;
    weight.name = name_ + weight.name;
    if (!weight.tensor.empty()) weight.tensor = tensor_ + weight.tensor;
    status_ = visitor_(weight, slots...);
  }
  Status TakeStatus() { return std::move(status_); }

 private:
  Visitor& visitor_;
  std::string name_;
  std::string tensor_;
  Status status_;
};

// Tells how many layers are done, as the groups of a decoder begin: all but the first and the last
// are layers.
class LayerProgress {
 public:
  LayerProgress(size_t num_layers, Watch on_layer)
      : num_layers_(static_cast<int64_t>(num_layers)), on_layer_(std::move(on_layer)) {}

  // Error: the watch's, which stops the visit.
  Status BeginGroup() {
    const int64_t done = num_groups_++ - 1;
    return done >= 1 ? Tell(on_layer_, done, num_layers_) : Status();
  }

 private:
  int64_t num_layers_;
  int64_t num_groups_ = 0;
  Watch on_layer_;
};

// A list that is filled in gets its size; one that is read has it.
template <typename T>
std::vector<T>& WithSize(std::vector<T>& list, size_t size) {
  list.resize(size);
  return list;
}
template <typename T>
const std::vector<T>& WithSize(const std::vector<T>& list, size_t) {
  return list;
}

}  // namespace expertile
