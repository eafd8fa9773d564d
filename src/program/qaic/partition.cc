#include "program/qaic/partition.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "formats/json.h"

namespace expertile::qaic {
namespace {

using nlohmann::json;

Status CheckCount(std::string_view option, int count) {
  if (count >= 1) return {};
  return InvalidArgument("{}: {}, expected at least 1", option, count);
}

json Devices(int first, int count, int num_cores) {
  json devices = json::array();
  for (int d = first; d < first + count; ++d) {
    devices.push_back({{"deviceId", d}, {"numCores", num_cores}});
  }
  return devices;
}

std::string PartitionJson(int num_devices, json partitions) {
  std::vector<int> ids(static_cast<size_t>(num_devices));
  std::iota(ids.begin(), ids.end(), 0);
  const json connection = {{"devices", ids}, {"type", "p2p"}};
  const json document = {{"connections", json::array({connection})},
                         {"partitions", std::move(partitions)}};
  return document.dump(4, ' ', true, json::error_handler_t::replace) + "\n";
}

// The stages in the order in which they get a layer of the remainder.
std::vector<int> RemainderOrder(int num_stages) {
  std::vector<int> order;
  const int centre = (num_stages - 1) / 2;
  for (int distance = 0; distance < num_stages; ++distance) {
    for (const int stage : {centre - distance, centre + 1 + distance}) {
      if (stage >= 1 && stage <= num_stages - 2) order.push_back(stage);
    }
  }
  order.push_back(0);
  return order;
}

// For each node the stage of its layer, else of the last layer before it.
Result<std::vector<int>> StagesOfNodes(const std::vector<CompilerNode>& nodes,
                                       const std::vector<int>& layers_of_stages) {
  std::vector<int> stage_of_layer;
  for (size_t stage = 0; stage < layers_of_stages.size(); ++stage) {
    const auto num_layers = static_cast<size_t>(layers_of_stages[stage]);
    stage_of_layer.insert(stage_of_layer.end(), num_layers, static_cast<int>(stage));
  }
  std::vector<int> stages;
  int current = 0;
  for (const CompilerNode& node : nodes) {
    if (const std::optional<int> layer = LayerOfName(node.caller)) {
      if (static_cast<size_t>(*layer) >= stage_of_layer.size()) {
        return InvalidArgument("{}: in layer {}, but the model has {}", OneLine(node.caller),
                               *layer, stage_of_layer.size());
      }
      current = stage_of_layer[static_cast<size_t>(*layer)];
    }
    stages.push_back(current);
  }
  return stages;
}

}  // namespace

Result<Partition> TensorSlicing(int num_devices, int num_cores) {
  EXPERTILE_RETURN_IF_ERROR(CheckCount("num_devices", num_devices));
  EXPERTILE_RETURN_IF_ERROR(CheckCount("num_cores", num_cores));
  const json partition = {{"name", "Partition0"}, {"devices", Devices(0, num_devices, num_cores)}};
  return Partition{Partition::Kind::kTensorSlicing, fmt::format("mdp_ts_{}.json", num_devices),
                   PartitionJson(num_devices, json::array({partition}))};
}

Result<std::vector<int>> LayersOfStages(int num_layers, int num_stages) {
  EXPERTILE_RETURN_IF_ERROR(CheckCount("num_stages", num_stages));
  if (num_stages > num_layers) {
    return InvalidArgument("num_stages: {}, but the model has {} layers", num_stages, num_layers);
  }
  std::vector<int> layers(static_cast<size_t>(num_stages), num_layers / num_stages);
  const std::vector<int> order = RemainderOrder(num_stages);
  for (int i = 0; i < num_layers % num_stages; ++i) {
    ++layers[static_cast<size_t>(order[static_cast<size_t>(i)])];
  }
  return layers;
}

Result<Partition> Pipeline(const GraphOutline& graph, int num_layers, int num_stages,
                           int num_devices, int num_cores) {
  EXPERTILE_RETURN_IF_ERROR(CheckCount("num_devices", num_devices));
  EXPERTILE_RETURN_IF_ERROR(CheckCount("num_cores", num_cores));
  EXPERTILE_ASSIGN(const std::vector<int> layers, LayersOfStages(num_layers, num_stages));
  if (num_devices % num_stages != 0) {
    return InvalidArgument("num_devices: {} is no multiple of num_stages {}", num_devices,
                           num_stages);
  }
  EXPERTILE_ASSIGN(const std::vector<CompilerNode> nodes, CompilerNodes(graph));
  EXPERTILE_ASSIGN(const std::vector<int> stages, StagesOfNodes(nodes, layers));

  const int devices_per_stage = num_devices / num_stages;
  json partitions = json::array();
  for (int stage = 0; stage < num_stages; ++stage) {
    json names = json::array();
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (stages[i] == stage) names.push_back(nodes[i].name);
    }
    if (names.empty()) {
      return InvalidArgument("pipeline stage {} of {}: no node names one of its {} layers", stage,
                             num_stages, layers[static_cast<size_t>(stage)]);
    }
    partitions.push_back(
        {{"name", fmt::format("Partition{}", stage)},
         {"nodeList", std::move(names)},
         {"devices", Devices(stage * devices_per_stage, devices_per_stage, num_cores)}});
  }
  return Partition{Partition::Kind::kPipeline,
                   fmt::format("mdp_disagg_{}d_{}p.json", num_devices, num_stages),
                   PartitionJson(num_devices, std::move(partitions))};
}

Result<Partition> GivenPartition(const std::string& path) {
  EXPERTILE_ASSIGN(std::string text, ReadTextFile(path));
  EXPERTILE_ASSIGN(const json document, ParseJson(text, path));
  for (const char* key : {"connections", "partitions"}) {
    if (document.is_object() && document.contains(key) && document[key].is_array()) continue;
    return InvalidData("{}: {}: expected a list", path, key);
  }
  return Partition{Partition::Kind::kGiven, "mdp_given.json", std::move(text)};
}

}  // namespace expertile::qaic
