// What of an exported graph decides how it is compiled: nodes, inputs and outputs.
// Not its weights or attributes.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "expertile/result.h"

namespace expertile::onnx_target {

struct GraphNode {
  std::string name;
  std::string op_type;              // of an operator, or the name of a function of the model
  std::vector<std::string> inputs;  // "" stands for one that is left out
  std::vector<std::string> outputs;
};

struct GraphOutline {
  std::vector<GraphNode> nodes;     // each after those that make its inputs
  std::set<std::string> constants;  // initializers
  std::map<std::string, std::vector<std::string>> functions;  // of the model: names of body nodes
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
};

// Errors: a file that cannot be read, or is no ONNX model.
Result<GraphOutline> ReadGraphOutline(const std::filesystem::path& file);

}  // namespace expertile::onnx_target
