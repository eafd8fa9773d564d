// The multi-device partition file: which devices share every layer, or which take which layers.
// Not a choice of either: the caller knows its cards.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "expertile/result.h"
#include "program/qaic/node_list.h"

namespace expertile::qaic {

struct Partition {
  // Where a file comes from decides where its flag stands among the compiler's.
  enum class Kind : uint8_t { kTensorSlicing, kPipeline, kGiven };
  Kind kind = Kind::kTensorSlicing;
  std::string file_name;  // inside the compile's folder
  std::string json;
};

// One partition over all devices 0 … num_devices − 1: the compiler slices every tensor. File
// mdp_ts_<devices>.json. Errors: a count below 1.
Result<Partition> TensorSlicing(int num_devices, int num_cores);

// Layers of each pipeline stage: num_layers / num_stages each; what is left over goes one by one to
// the middle stages, from the centre outwards, then to the first. The last stage, which has the LM
// head, never gets one. Errors: a stage without a layer.
Result<std::vector<int>> LayersOfStages(int num_layers, int num_stages);

// num_stages partitions of num_devices / num_stages devices, each with the list of its nodes: those
// of its layers; a node of no layer goes with the last layer before it, or into the first stage.
// File mdp_disagg_<devices>d_<stages>p.json.
// Errors: num_stages does not divide num_devices, a stage without layers or nodes, a node that
// names a layer beyond num_layers, a graph out of order.
Result<Partition> Pipeline(const GraphOutline& graph, int num_layers, int num_stages,
                           int num_devices, int num_cores);

// A file that the user made. File mdp_given.json. Errors: not a JSON object with the lists
// "connections" and "partitions".
Result<Partition> GivenPartition(const std::string& path);

}  // namespace expertile::qaic
