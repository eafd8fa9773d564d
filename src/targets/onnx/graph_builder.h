// GraphBuilder: an ONNX graph as it grows, node by node, with its weights and functions.
// Not what the nodes mean: onnx_ops.h, onnx_vision_ops.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "expertile/result.h"
#include "targets/onnx/layer_functions.h"

namespace onnx {
class GraphProto;
class ModelProto;
class NodeProto;
}  // namespace onnx

namespace expertile::onnx_target {

// An attribute of a node; only the kinds that are used here.
struct Attribute {
  std::string name;
  std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
};

using Inputs = std::vector<std::string>;
using Attributes = std::vector<Attribute>;

// A dimension of an input or output: a size, or a named axis.
struct Dimension {
  Dimension(int64_t fixed) : size(fixed) {}               // NOLINT: as written in lists
  Dimension(const char* axis) : name(axis) {}             // NOLINT
  Dimension(std::string axis) : name(std::move(axis)) {}  // NOLINT
  int64_t size = 0;
  std::string name;
};

enum class ElementType { kFloat, kInt32, kInt64 };

class GraphBuilder {
 public:
  static constexpr int64_t kLargestInlineBytes = int64_t{1} << 30;

  // Weights stream to FILE.data, which goes away again if they are not more than
  // `largest_inline_bytes`. Nothing else may use these two names; what is left of them after an
  // error is the caller's to remove.
  GraphBuilder(std::string graph_name, std::filesystem::path file,
               int64_t largest_inline_bytes = kLargestInlineBytes);
  ~GraphBuilder();

  void AddInput(const std::string& name, ElementType type, const std::vector<Dimension>& shape);
  void AddOutput(const std::string& name, ElementType type, const std::vector<Dimension>& shape);

  // Nodes from here to EndLayer are decoder layer `index`'s, and named after it.
  void BeginLayer(int index);
  void EndLayer();
  // Makes each layer's nodes one call of a function, NAME or NAME.1, NAME.2, …; layers of the same
  // nodes call the same one.
  void FoldLayers(const std::string& name);

  // Adds a node of one output and returns the output's name.
  std::string Node(const std::string& op, const Inputs& inputs, const Attributes& attributes = {});
  // The K largest of every row: values and int64 indices, [T,K] each.
  struct Largest {
    std::string values;
    std::string indices;
  };
  Largest TopK(const std::string& rows, int64_t K);
  // The same for a function of a domain (custom_functions.h), which the model then carries.
  std::string Function(const std::string& op, const Inputs& inputs,
                       const Attributes& attributes = {});
  void NameOutput(const std::string& value, const std::string& output);  // output = value

  // Constants of one or no dimension, each value once.
  std::string Ints(const std::vector<int64_t>& values);
  std::string Int(int64_t value);
  std::string Int32(int32_t value);
  std::string Float(float value);

  // A weight. Its values come in pieces, in order, until all are there.
  void BeginWeight(const std::string& name, const std::vector<int64_t>& shape);
  Status AppendWeight(std::span<const float> values);

  // Writes the whole model to FILE. Call once.
  Status Save();

 private:
  std::string NewName(const std::string& op);
  Status TakeWeightsIn();  // from the data file into the graph
  void AddFunctions();
  std::string Constant(const std::string& key, ElementType type, const std::vector<int64_t>& shape,
                       const std::string& bytes);

  std::unique_ptr<::onnx::ModelProto> model_;
  ::onnx::GraphProto* graph_;
  std::filesystem::path file_;
  std::filesystem::path data_file_;
  std::ofstream data_;
  int64_t largest_inline_bytes_;
  int64_t data_size_ = 0;
  int64_t num_nodes_ = 0;
  std::vector<NodeRange> layers_;
  bool in_layer_ = false;
  std::map<std::string, std::string> constants_;  // what it is -> its name
  std::set<std::string> functions_;
};

}  // namespace expertile::onnx_target
