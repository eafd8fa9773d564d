#include "targets/onnx/export_vision.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "model/vision_forward.h"
#include "targets/onnx/graph_weights.h"
#include "targets/onnx/onnx_vision_ops.h"

namespace expertile::onnx_target {
namespace {

static_assert(VisionOps<OnnxVisionOps>);

}  // namespace

Status ExportVision(const Checkpoint& checkpoint, const ImageGrid& grid,
                    const std::filesystem::path& file) {
  const VisionSpec& spec = checkpoint.config.vision->spec;
  EXPERTILE_ASSIGN(const VisionPositions positions,
                   ComputeVisionPositions({&grid, 1}, spec.prompt.merge_size, spec.grid_side));
  GraphBuilder graph("vision", file);
  const int64_t num_tokens = grid.num_tokens(spec.prompt.merge_size);
  const auto num_features = static_cast<int64_t>(spec.deepstack_blocks.size());
  graph.AddInput("pixel_values", ElementType::kFloat, {grid.num_patches(), spec.patch_values});
  graph.AddOutput("vision_embeds", ElementType::kFloat, {1, num_tokens, spec.output_size});
  WeightAdder adder(graph, checkpoint.tensors, ExpertLayout::kOneByOne, std::nullopt, {0, {}});
  VisionWeights<OnnxVisionOps> tower;
  EXPERTILE_RETURN_IF_ERROR(VisitWeights(spec, adder, *checkpoint.vision_weights, tower));
  OnnxVisionOps ops(graph);
  const std::vector<float> patches(grid.num_patches() * spec.patch_values);
  const auto rows = VisionForward(ops, spec, tower, grid, positions, patches);
  const std::string shape = graph.Ints({1, num_tokens, spec.output_size});
  graph.NameOutput(graph.Node("Reshape", {rows.embeddings.name, shape}), "vision_embeds");
  if (num_features > 0) {
    graph.AddOutput("deepstack_features", ElementType::kFloat,
                    {num_features, 1, num_tokens, spec.output_size});
    Inputs features;
    const std::string one = graph.Ints({1, 1, num_tokens, spec.output_size});
    for (const auto& feature : rows.deepstack) {
      features.push_back(graph.Node("Reshape", {feature.name, one}));
    }
    graph.NameOutput(graph.Node("Concat", features, {{"axis", int64_t{0}}}), "deepstack_features");
  }
  return graph.Save();
}

}  // namespace expertile::onnx_target
