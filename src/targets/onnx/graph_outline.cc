#include "targets/onnx/graph_outline.h"

#include <onnx/onnx_pb.h>

#include <fstream>

#include "base/error.h"

namespace expertile::onnx_target {

Result<GraphOutline> ReadGraphOutline(const std::filesystem::path& file) {
  ::onnx::ModelProto model;
  std::ifstream input(file, std::ios::binary);
  if (!input) return IoError("{}: cannot open", file.string());
  if (!model.ParseFromIstream(&input)) return InvalidData("{}: no ONNX model", file.string());
  const ::onnx::GraphProto& graph = model.graph();
  GraphOutline outline;
  for (const auto& node : graph.node()) {
    outline.nodes.push_back({node.name(),
                             node.op_type(),
                             {node.input().begin(), node.input().end()},
                             {node.output().begin(), node.output().end()}});
  }
  for (const auto& tensor : graph.initializer()) outline.constants.insert(tensor.name());
  for (const auto& function : model.functions()) {
    std::vector<std::string>& names = outline.functions[function.name()];
    for (const auto& node : function.node()) {
      if (node.op_type() != "Constant") names.push_back(node.name());
    }
  }
  for (const auto& value : graph.input()) outline.inputs.push_back(value.name());
  for (const auto& value : graph.output()) outline.outputs.push_back(value.name());
  return outline;
}

}  // namespace expertile::onnx_target
