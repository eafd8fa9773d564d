// What GraphBuilder wrote, read back, and the rules that every such model keeps: for tests.
// Not for what a compile needs to know of a graph: graph_outline.h.
#pragma once

#include <gtest/gtest.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace expertile::onnx_target {

inline ::onnx::ModelProto ReadModel(const std::filesystem::path& file) {
  ::onnx::ModelProto model;
  std::ifstream input(file, std::ios::binary);
  EXPECT_TRUE(input && model.ParseFromIstream(&input)) << file;
  return model;
}

// The standard's own checker (operators, their inputs and attributes, an order in which every value
// is made before it is used), and its inference of types and shapes, which refuses what does not
// fit. Inputs of the graph that are named in `sizes` ("seq_len") have that size.
// With `follows_shapes` shapes that the graph computes are known, too; libonnx 1.12 crashes over
// whole decoders then.
inline void ExpectValid(::onnx::ModelProto model, const std::map<std::string, int64_t>& sizes,
                        bool follows_shapes = false) {
  for (auto* values :
       {model.mutable_graph()->mutable_input(), model.mutable_graph()->mutable_output()}) {
    for (auto& value : *values) {
      auto* shape = value.mutable_type()->mutable_tensor_type()->mutable_shape();
      for (auto& dimension : *shape->mutable_dim()) {
        const auto size = sizes.find(dimension.dim_param());
        if (dimension.has_dim_param() && size != sizes.end()) dimension.set_dim_value(size->second);
      }
    }
  }
  try {
    ::onnx::checker::check_model(model);
    ::onnx::shape_inference::InferShapes(
        model, ::onnx::OpSchemaRegistry::Instance(),
        ::onnx::ShapeInferenceOptions(/*check_type_val=*/true, /*strict_mode_val=*/1,
                                      /*data_prop_val=*/follows_shapes));
  } catch (const std::exception& failure) {
    ADD_FAILURE() << failure.what();
  }
}

// The nodes of an op, in order. `graph` is a GraphProto or a FunctionProto.
template <typename Graph>
std::vector<::onnx::NodeProto> NodesOf(const Graph& graph, const std::string& op) {
  std::vector<::onnx::NodeProto> nodes;
  std::ranges::copy_if(graph.node(), std::back_inserter(nodes),
                       [&](const auto& node) { return node.op_type() == op; });
  return nodes;
}

// How many inputs of nodes are `value`.
inline int64_t NumUses(const ::onnx::GraphProto& graph, const std::string& value) {
  int64_t count = 0;
  for (const auto& node : graph.node()) count += std::ranges::count(node.input(), value);
  return count;
}

// Names of inputs, outputs, initialisers, …: of anything that has a name.
template <typename List>
std::vector<std::string> NamesOf(const List& list) {
  std::vector<std::string> names;
  for (const auto& each : list) names.push_back(each.name());
  return names;
}

template <typename List>
const typename List::value_type& Find(const List& list, const std::string& name) {
  static const typename List::value_type none;
  const auto found = std::ranges::find_if(list, [&](const auto& e) { return e.name() == name; });
  EXPECT_NE(found, list.end()) << name;
  return found == list.end() ? none : *found;
}

template <typename T>
std::vector<T> ValuesOf(const ::onnx::TensorProto& tensor) {
  std::vector<T> values(tensor.raw_data().size() / sizeof(T));
  std::memcpy(values.data(), tensor.raw_data().data(), tensor.raw_data().size());
  return values;
}

inline std::vector<int64_t> DimsOf(const ::onnx::TensorProto& tensor) {
  return {tensor.dims().begin(), tensor.dims().end()};
}

}  // namespace expertile::onnx_target
