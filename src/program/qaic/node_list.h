// The nodes of a graph as the Cloud AI 100 compiler sees them: constants folded, functions inlined.
// Not a reader of ONNX files: targets/onnx/graph_outline.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/result.h"
#include "targets/onnx/graph_outline.h"

namespace expertile::qaic {

using onnx_target::GraphNode;
using onnx_target::GraphOutline;

// The compiler's names, in the graph's order, and for each the node of the outline it comes from:
// - a node whose inputs are all constants is gone, unless it is a Loop, If, Const, Identity or
//   DequantizeLinear; so is a Constant;
// - a call of a function of fewer than 100 nodes is replaced by its body's nodes, as CALL/BODY;
//   CustomRMSNorm and CastToUInt4 stay calls;
// - a node without a name is left out.
struct CompilerNode {
  std::string name;
  std::string caller;  // the node of the outline
};
// Errors: a node that comes before what makes its input.
Result<std::vector<CompilerNode>> CompilerNodes(const GraphOutline& graph);

// The decoder layer that a name tells of: a part layers.N, h.N or layer_N between slashes.
std::optional<int> LayerOfName(std::string_view node_name);

}  // namespace expertile::qaic
