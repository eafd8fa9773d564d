#include "program/qaic/node_list.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"

namespace expertile::qaic {
namespace {

constexpr size_t kInlineBelow = 100;
constexpr std::array<std::string_view, 5> kNeverFolded = {"Loop", "Const", "Identity", "If",
                                                          "DequantizeLinear"};
constexpr std::array<std::string_view, 2> kNeverInlined = {"CustomRMSNorm", "CastToUInt4"};

template <typename Names>
bool Contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool Folds(const GraphNode& node, const std::set<std::string>& constants) {
  if (node.op_type == "Constant") return true;
  if (node.inputs.empty() || Contains(kNeverFolded, node.op_type)) return false;
  return std::all_of(node.inputs.begin(), node.inputs.end(), [&](const std::string& input) {
    return input.empty() || constants.contains(input);
  });
}

// The inlined body of what `node` calls, or null.
const std::vector<std::string>* InlinedBody(const GraphOutline& graph, const GraphNode& node) {
  const auto function = graph.functions.find(node.op_type);
  if (function == graph.functions.end() || function->second.size() >= kInlineBelow) return nullptr;
  return Contains(kNeverInlined, node.op_type) ? nullptr : &function->second;
}

Status CheckOrder(const std::vector<GraphNode>& nodes) {
  std::set<std::string_view> to_come;
  for (const GraphNode& node : nodes) to_come.insert(node.outputs.begin(), node.outputs.end());
  for (const GraphNode& node : nodes) {
    for (const std::string& input : node.inputs) {
      if (input.empty() || !to_come.contains(input)) continue;
      return InvalidData("{}: its input {} is made by a later node", OneLine(node.name),
                         OneLine(input));
    }
    for (const std::string& output : node.outputs) to_come.erase(output);
  }
  return {};
}

}  // namespace

Result<std::vector<CompilerNode>> CompilerNodes(const GraphOutline& graph) {
  EXPERTILE_RETURN_IF_ERROR(CheckOrder(graph.nodes));
  std::set<std::string> constants = graph.constants;
  std::vector<CompilerNode> list;
  for (const GraphNode& node : graph.nodes) {
    if (Folds(node, constants)) {
      constants.insert(node.outputs.begin(), node.outputs.end());
    } else if (const auto* body = InlinedBody(graph, node); body != nullptr) {
      for (const std::string& name : *body) {
        if (!node.name.empty() && !name.empty()) {
          list.push_back({node.name + "/" + name, node.name});
        }
      }
    } else if (!node.name.empty()) {
      list.push_back({node.name, node.name});
    }
  }
  return list;
}

std::optional<int> LayerOfName(std::string_view node_name) {
  while (!node_name.empty()) {
    const size_t end = std::min(node_name.find('/'), node_name.size());
    const std::string_view part = node_name.substr(0, end);
    for (const std::string_view prefix : {"layers.", "h.", "layer_"}) {
      if (!part.starts_with(prefix)) continue;
      const std::string_view digits = part.substr(prefix.size());
      int layer = 0;
      const auto [stop, error] = std::from_chars(digits.begin(), digits.end(), layer);
      if (error == std::errc() && stop == digits.end() && layer >= 0) return layer;
    }
    node_name.remove_prefix(std::min(end + 1, node_name.size()));
  }
  return std::nullopt;
}

}  // namespace expertile::qaic
