#include "targets/onnx/onnx_export.h"

#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/forward.h"
#include "model/vision_forward.h"
#include "targets/onnx/graph_weights.h"
#include "targets/onnx/onnx_vision_ops.h"

namespace expertile::onnx_target {
namespace {

static_assert(Ops<OnnxOps>);
static_assert(VisionOps<OnnxVisionOps>);

ExpertLayout LayoutOf(const GraphOptions& options, bool is_blocked) {
  if (options.kind == StepKind::kDecode) return ExpertLayout::kTogether;
  return is_blocked ? ExpertLayout::kBySlot : ExpertLayout::kOneByOne;
}

// Image rows, which a graph hands on to the next chunk as they came.
void AddImageInputs(const DecoderSpec& spec, const GraphOptions& options, GraphBuilder& graph) {
  const auto retain = [&](const std::string& name, const std::vector<Dimension>& shape) {
    graph.AddInput(name, ElementType::kFloat, shape);
    graph.AddOutput(name + "_RetainedState", ElementType::kFloat, shape);
    graph.NameOutput(name, name + "_RetainedState");
  };
  retain("vision_embeds", {"vision_batch_size", "vision_size", spec.hidden_size});
  if (options.num_features > 0) {
    retain("deepstack_features",
           {options.num_features, "vision_batch_size", "vision_size", spec.hidden_size});
  }
  graph.AddInput("image_idx", ElementType::kInt64, {1, 1});
  graph.AddOutput("image_idx_output", ElementType::kInt64, {1, 1});
}

void AddInputs(const DecoderSpec& spec, GraphBuilder& graph) {
  graph.AddInput("input_ids", ElementType::kInt64, {"batch_size", "seq_len"});
  std::vector<Dimension> positions = {"batch_size", "seq_len"};
  if (spec.rope.num_axes > 1) positions.insert(positions.begin(), 1 + spec.rope.num_axes);
  graph.AddInput("position_ids", ElementType::kInt64, positions);
  graph.AddOutput("logits", ElementType::kFloat, {"batch_size", 1, spec.vocab_size});
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const AttentionSpec& attention = AttentionOf(spec.layers[i]);
    for (const char* part : {"past_key.", "past_value."}) {
      const std::string name = part + std::to_string(i);
      const std::vector<Dimension> shape = {"batch_size", attention.num_kv_heads, "ctx_len",
                                            attention.head_dim};
      graph.AddInput(name, ElementType::kFloat, shape);
      graph.AddOutput(name + "_RetainedState", ElementType::kFloat, shape);
    }
  }
}

// qwen3_moe -> Qwen3Moe
std::string CamelCase(const std::string& name) {
  std::string words;
  bool begins = true;
  for (const char c : name) {
    if (c != '_') words += begins ? static_cast<char>(std::toupper(c)) : c;
    begins = c == '_';
  }
  return words;
}

}  // namespace

Status ExportDecoder(const Checkpoint& checkpoint, const GraphOptions& options,
                     const std::filesystem::path& file, const Watch& on_layer) {
  const DecoderSpec& spec = checkpoint.config.spec;
  const bool is_prefill = options.kind == StepKind::kPrefill;
  EXPERTILE_ASSIGN(
      const std::optional<Placement> placement,
      Placement::CreateIfBlocked(spec.moe.num_experts, is_prefill ? options.blocking.num_nsp : 0));
  GraphBuilder graph(spec.model_type, file);
  AddInputs(spec, graph);
  const bool has_images = options.image_token_id > 0;
  if (has_images) AddImageInputs(spec, options, graph);
  WeightAdder adder(graph, checkpoint.tensors, LayoutOf(options, placement.has_value()), placement,
                    {spec.layers.size(), on_layer});
  DecoderWeights<OnnxOps> decoder;
  EXPERTILE_RETURN_IF_ERROR(VisitWeights(spec, adder, checkpoint.weights, decoder));
  OnnxOps ops(graph, spec, options, placement);
  const OnnxOps::Tensor logits = Forward(ops, spec, decoder, ops.Begin());
  graph.NameOutput(graph.Node("Unsqueeze", {logits.name, graph.Ints({1})}), "logits");
  if (options.use_subfunctions) graph.FoldLayers(CamelCase(spec.model_type) + "DecoderLayer");
  return graph.Save();
}

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
  const IsCancelled never;
  StepCancellation cancellation(never);
  const auto rows = VisionForward(ops, spec, tower, grid, positions, patches, cancellation);
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
