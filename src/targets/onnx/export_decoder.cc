#include "targets/onnx/export_decoder.h"

#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/forward.h"
#include "targets/onnx/append_matrix.h"

namespace expertile::onnx_target {
namespace {

static_assert(Ops<OnnxOps>);

// Adds every weight as an initialiser, matrices as [in,out]. Gives back the checkpoint's pages
// after every layer: what is resident of it is one layer at most.
class WeightAdder {
 public:
  WeightAdder(GraphBuilder& graph, const Checkpoint& checkpoint, const GraphOptions& options,
              const std::optional<Placement>& placement)
      : graph_(graph), checkpoint_(checkpoint), options_(options), placement_(placement) {}

  Status BeginGroup(const std::string& group) {
    checkpoint_.tensors.ReleasePages();
    if (group.starts_with("layers.")) ++layer_;
    return {};
  }

  Result<OnnxOps::Vector> PackVector(const std::string& name, const MatrixView& view) {
    EXPERTILE_RETURN_IF_ERROR(AddVector(name, {view.cols}, {&view}));
    return OnnxOps::Vector{name, view.cols};
  }

  Result<OnnxOps::Embedding> PackEmbedding(const std::string& name, const MatrixView& view) {
    graph_.BeginWeight(name, {view.rows, view.cols});
    EXPERTILE_RETURN_IF_ERROR(AppendRows(view, graph_));
    return OnnxOps::Embedding{name, view.cols};
  }

  Result<OnnxOps::Linear> PackLinear(const std::string& name, const LinearView& view) {
    EXPERTILE_RETURN_IF_ERROR(
        AddMatrices(name, {view.weight.cols, view.weight.rows}, {&view.weight}));
    if (view.bias) {
      EXPERTILE_RETURN_IF_ERROR(AddVector(name + ".bias", {view.weight.rows}, {&*view.bias}));
    }
    return OnnxOps::Linear{name, view.bias ? name + ".bias" : "", view.weight.rows};
  }
  Result<OnnxOps::Linear> PackRouter(const std::string& name, const LinearView& view) {
    return PackLinear(name, view);
  }
  Result<OnnxOps::Linear> PackHead(const std::string& name, const LinearView& view) {
    return PackLinear(name, view);
  }

  Result<OnnxOps::Experts> PackExperts(const std::string& name,
                                       const std::vector<ExpertView>& views) {
    const MatrixView& gate = views[0].gate.weight;
    const bool has_bias = views[0].gate.bias.has_value();
    EXPERTILE_RETURN_IF_ERROR(AddLinears(name + ".gate", views, &ExpertView::gate));
    EXPERTILE_RETURN_IF_ERROR(AddLinears(name + ".up", views, &ExpertView::up));
    EXPERTILE_RETURN_IF_ERROR(AddLinears(name + ".down", views, &ExpertView::down));
    return OnnxOps::Experts{static_cast<int64_t>(views.size()), gate.cols, gate.rows, name,
                            has_bias};
  }

 private:
  // One matrix of every expert, as the layer's way through the experts wants them together.
  Status AddLinears(const std::string& name, const std::vector<ExpertView>& views,
                    LinearView ExpertView::*part) {
    const bool is_moe = checkpoint_.config.spec.layers[layer_].is_moe();
    if (is_moe && options_.kind == StepKind::kDecode) {
      std::vector<const LinearView*> all;
      for (const ExpertView& view : views) all.push_back(&(view.*part));
      return AddTogether(name, "", all);
    }
    if (is_moe && placement_) {
      for (int slot = 0; slot < placement_->local_experts(); ++slot) {
        std::vector<const LinearView*> of_slot;  // null where an NSP has no expert in it
        for (int nsp = 0; nsp < placement_->num_nsp(); ++nsp) {
          const int expert = placement_->ExpertAt(nsp, slot);
          of_slot.push_back(expert == kNoExpert ? nullptr : &(views[expert].*part));
        }
        EXPERTILE_RETURN_IF_ERROR(AddTogether(name, ".slot" + std::to_string(slot), of_slot));
      }
      return {};
    }
    for (size_t e = 0; e < views.size(); ++e) {
      const LinearView& linear = views[e].*part;
      const std::string suffix = "." + std::to_string(e);
      EXPERTILE_RETURN_IF_ERROR(
          AddMatrices(name + suffix, {linear.weight.cols, linear.weight.rows}, {&linear.weight}));
      if (!linear.bias) continue;
      EXPERTILE_RETURN_IF_ERROR(
          AddVector(name + ".bias" + suffix, {linear.weight.rows}, {&*linear.bias}));
    }
    return {};
  }

  // NAME SUFFIX [n,in,out] and, with biases, NAME.bias SUFFIX [n,1,out]; null is zeros.
  Status AddTogether(const std::string& name, const std::string& suffix,
                     const std::vector<const LinearView*>& linears) {
    const auto count = static_cast<int64_t>(linears.size());
    const MatrixView& first = linears[0]->weight;
    std::vector<const MatrixView*> weights;
    std::vector<const MatrixView*> biases;
    for (const LinearView* linear : linears) {
      weights.push_back(linear != nullptr ? &linear->weight : nullptr);
      biases.push_back(linear != nullptr && linear->bias ? &*linear->bias : nullptr);
    }
    EXPERTILE_RETURN_IF_ERROR(AddMatrices(name + suffix, {count, first.cols, first.rows}, weights));
    if (!linears[0]->bias) return {};
    return AddVector(name + ".bias" + suffix, {count, 1, first.rows}, biases);
  }

  // Matrices [out,in], each transposed, one after another.
  Status AddMatrices(const std::string& name, const std::vector<int64_t>& shape,
                     const std::vector<const MatrixView*>& matrices) {
    graph_.BeginWeight(name, shape);
    for (const MatrixView* matrix : matrices) {
      if (matrix != nullptr) {
        EXPERTILE_RETURN_IF_ERROR(AppendTransposed(*matrix, graph_));
      } else {
        const std::vector<float> zeros(matrices[0]->rows * matrices[0]->cols, 0.0f);
        EXPERTILE_RETURN_IF_ERROR(graph_.AppendWeight(zeros));
      }
    }
    return {};
  }

  Status AddVector(const std::string& name, const std::vector<int64_t>& shape,
                   const std::vector<const MatrixView*>& vectors) {
    graph_.BeginWeight(name, shape);
    for (const MatrixView* vector : vectors) {
      std::vector<float> values(shape.back(), 0.0f);
      if (vector != nullptr) vector->ReadRow(0, values);
      EXPERTILE_RETURN_IF_ERROR(graph_.AppendWeight(values));
    }
    return {};
  }

  GraphBuilder& graph_;
  const Checkpoint& checkpoint_;
  const GraphOptions& options_;
  const std::optional<Placement>& placement_;
  int layer_ = -1;
};

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
                     const std::filesystem::path& file, const OnProgress& on_layer) {
  const DecoderSpec& spec = checkpoint.config.spec;
  std::optional<Placement> placement;
  if (options.kind == StepKind::kPrefill && options.blocking.num_nsp > 0) {
    EXPERTILE_ASSIGN(placement, Placement::Create(spec.moe.num_experts, options.blocking.num_nsp));
  }
  GraphBuilder graph(spec.model_type, file);
  AddInputs(spec, graph);
  const bool has_images = options.image_token_id > 0;
  if (has_images) AddImageInputs(spec, options, graph);
  WeightAdder adder(graph, checkpoint, options, placement);
  EXPERTILE_ASSIGN(const Decoder<OnnxOps> decoder,
                   Prepare<OnnxOps>(checkpoint.weights, adder, on_layer));
  OnnxOps ops(graph, spec, options, placement);
  Step step;
  step.kind = options.kind;
  const int32_t some_row = 0;  // there are image rows; which ones is the graph's to find
  if (has_images) {
    step.images.rows = {&some_row, 1};
    step.images.deepstack.resize(options.num_features);
  }
  const OnnxOps::Tensor logits = Forward(ops, spec, decoder, step);
  graph.NameOutput(graph.Node("Unsqueeze", {logits.name, graph.Ints({1})}), "logits");
  if (options.use_subfunctions) graph.FoldLayers(CamelCase(spec.model_type) + "DecoderLayer");
  return graph.Save();
}

}  // namespace expertile::onnx_target
