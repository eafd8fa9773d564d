// Decoder layers as ONNX functions: from a flat graph to one call a layer.
// Not the custom ops that such functions call in their turn: custom_functions.h.
#pragma once

#include <span>
#include <string>

namespace onnx {
class ModelProto;
}

namespace expertile::onnx_target {

inline constexpr const char* kLayerDomain = "expertile";

// The nodes of one decoder layer in a graph.
struct NodeRange {
  std::string name;  // /model/layers.3
  int index = 0;     // 3
  int begin = 0;     // nodes begin <= i < end
  int end = 0;
};

// Replaces every layer's nodes by a call of a function of domain kLayerDomain. Layers whose nodes
// are the same but for the names of values share a function: NAME if there is one, else NAME,
// NAME.1, …. Weights and caches are a function's inputs. Initialisers whose names begin with
// `constant_prefix` become Constant nodes in it, and leave the graph if nothing else uses them.
// `layers` follow each other.
void MakeLayersFunctions(const std::string& name, const std::string& constant_prefix,
                         std::span<const NodeRange> layers, ::onnx::ModelProto& model);

}  // namespace expertile::onnx_target
