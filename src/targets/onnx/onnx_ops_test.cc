// The decoder's ops as nodes: what the graph of a tiny spec consists of, for each kind of step.
#include "targets/onnx/onnx_ops.h"

#include <limits>
#include <random>
#include <set>

#include "base/temporary_folder.h"
#include "dispatch/chunk_plan.h"
#include "targets/onnx/custom_functions.h"
#include "targets/onnx/onnx_export.h"
#include "targets/onnx/saved_model.h"

namespace expertile::onnx_target {
namespace {

constexpr int64_t kHidden = 6;
constexpr int kNumExperts = 5;
constexpr int64_t kWindow = 3;

// Four layers: attention with and without a window, experts in layers 1 and 3, shared ones too.
DecoderSpec TinySpec() {
  DecoderSpec spec;
  spec.model_type = "tiny_moe";
  spec.vocab_size = 11;
  spec.hidden_size = kHidden;
  spec.rope.inv_freq = {1.0f, 0.5f};
  spec.moe = {.num_experts = kNumExperts,
              .intermediate_size = 7,
              .has_bias = true,
              .router = {.experts_per_token = 2, .has_bias = true, .normalize = true},
              .gated = {},
              .shared = SharedExpertSpec{3, /*has_gate=*/true}};
  const AttentionSpec all{.num_heads = 4, .num_kv_heads = 2, .head_dim = 4, .query_key_norm = true};
  AttentionSpec near = all;
  near.window = kWindow;
  near.has_sinks = near.has_bias = true;
  spec.layers = {{all, MlpSpec{9, {}}}, {near, spec.moe}, {all, MlpSpec{9, {}}}, {near, spec.moe}};
  return spec;
}

// Gives every weight its values, from one buffer of random floats.
class ViewMaker {
 public:
  ViewMaker() : values_(1000) {
    std::mt19937 random(1);
    for (float& value : values_) value = std::uniform_real_distribution<float>(-1, 1)(random);
  }

  Status BeginGroup(const std::string&) { return {}; }
  Status operator()(const Weight& weight, MatrixView& view) {
    view = Matrix(weight.rows, weight.cols);
    return {};
  }
  Status operator()(const Weight& weight, LinearView& view) {
    view = Linear(weight.rows, weight.cols, weight.has_bias);
    return {};
  }
  Status operator()(const Weight& weight, MlpView& view) {
    view = {Linear(weight.rows, weight.cols, weight.has_bias),
            Linear(weight.rows, weight.cols, weight.has_bias),
            Linear(weight.cols, weight.rows, weight.has_bias)};
    return {};
  }
  Status operator()(const Weight& weight, std::vector<MlpView>& views) {
    views.resize(weight.count);
    for (MlpView& view : views) static_cast<void>((*this)(weight, view));
    return {};
  }

 private:
  MatrixView Matrix(int64_t rows, int64_t cols) {
    next_ = (next_ + 37) % 500;  // each weight begins at another value
    return {.data = reinterpret_cast<const std::byte*>(values_.data() + next_),
            .rows = rows,
            .cols = cols,
            .row_stride = cols};
  }
  LinearView Linear(int64_t rows, int64_t cols, bool has_bias) {
    LinearView view{Matrix(rows, cols), std::nullopt};
    if (has_bias) view.bias = Matrix(1, rows);
    return view;
  }

  std::vector<float> values_;
  size_t next_ = 0;
};

// Exports decoders of a spec, with values for their weights.
class OnnxOpsTest : public ::testing::Test {
 protected:
  ::onnx::ModelProto Export(const DecoderSpec& spec, const GraphOptions& options) {
    Checkpoint checkpoint{{{}, spec, {}, {}}, Tensors(), {}, {}};
    EXPECT_TRUE(VisitWeights(spec, values_, checkpoint.weights));
    const Status status = ExportDecoder(checkpoint, options, folder_ / "model.onnx", {});
    EXPECT_TRUE(status) << status.error().message;
    views_ = checkpoint.weights;
    return ReadModel(folder_ / "model.onnx");
  }
  ::onnx::GraphProto ExportGraph(const GraphOptions& options) {
    return Export(TinySpec(), options).graph();
  }

  // Of any checkpoint: the export only gives its pages back.
  static CheckpointTensors Tensors() {
    const std::filesystem::path models = std::filesystem::path(EXPERTILE_SOURCE_DIR) / "models";
    return CheckpointTensors::Open(models / "tiny-qwen3_moe").value();
  }

  ViewMaker values_;
  DecoderViews views_;
  TemporaryFolder folder_;
};

GraphOptions Decode() { return {.kind = StepKind::kDecode, .blocking = {}, .ctx_len = 8}; }
GraphOptions Prefill(int num_nsp, int64_t packed_chunk_size = 4, int64_t max_rows = 10) {
  return {.blocking = {num_nsp, packed_chunk_size}, .max_rows = max_rows, .ctx_len = 8};
}

// The kinds of graphs that a decoder has.
std::vector<GraphOptions> AllKinds() {
  std::vector<GraphOptions> kinds = {Decode(), Prefill(0), Prefill(2), Prefill(kNumExperts)};
  for (size_t i = 0, count = kinds.size(); i < count; ++i) {
    kinds.push_back(kinds[i]);
    kinds.back().sentinel = Sentinel::kInBounds;
  }
  return kinds;
}

TEST_F(OnnxOpsTest, EveryKindOfGraphIsValid) {
  for (GraphOptions options : AllKinds()) {
    for (const bool use_subfunctions : {false, true}) {
      options.use_subfunctions = use_subfunctions;
      const bool is_decode = options.kind == StepKind::kDecode;
      ExpectValid(Export(TinySpec(), options),
                  {{"batch_size", 2}, {"seq_len", is_decode ? 1 : 5}, {"ctx_len", 8}});
    }
  }
}

TEST_F(OnnxOpsTest, InputsAndOutputsAreTokensLogitsAndStates) {
  for (const GraphOptions& options : AllKinds()) {
    const ::onnx::GraphProto graph = ExportGraph(options);
    std::vector<std::string> inputs = {"input_ids", "position_ids"};
    std::vector<std::string> outputs = {"logits"};
    for (int i = 0; i < 4; ++i) {
      for (const char* part : {"past_key.", "past_value."}) {
        inputs.push_back(part + std::to_string(i));
        outputs.push_back(inputs.back() + "_RetainedState");
      }
    }
    EXPECT_EQ(NamesOf(graph.input()), inputs);
    EXPECT_EQ(NamesOf(graph.output()), outputs);
  }
}

TEST_F(OnnxOpsTest, EveryWeightOfTheTableIsUsed) {
  for (const GraphOptions& options : AllKinds()) {
    const ::onnx::GraphProto graph = ExportGraph(options);
    for (const std::string& name : NamesOf(graph.initializer())) {
      EXPECT_GE(NumUses(graph, name), 1) << name;
    }
  }
}

TEST_F(OnnxOpsTest, EveryStateIsWrittenOnceAtItsPositions) {
  for (const GraphOptions& options : AllKinds()) {
    const ::onnx::GraphProto graph = ExportGraph(options);
    const auto writes = NodesOf(graph, "CtxScatter");
    ASSERT_EQ(writes.size(), 8u);
    EXPECT_EQ(writes[2].domain(), kCacheDomain);
    const bool is_whole = options.sentinel == Sentinel::kInt32Max;  // without a spare row
    EXPECT_EQ(writes[2].input(0) == "past_key.1", is_whole);
  }
}

// Layers of the same window share a mask, which is made before the first layer.
TEST_F(OnnxOpsTest, EachWindowHasOneMask) {
  const ::onnx::GraphProto graph = ExportGraph(Prefill(0));
  std::vector<std::string> masks;  // of the layers: where scores are replaced
  for (const auto& node : NodesOf(graph, "Where")) {
    if (node.input(1) == "constant_f32_-65504") masks.push_back(node.input(0));
  }
  ASSERT_EQ(masks.size(), 4u);
  EXPECT_EQ(masks[0], masks[2]);
  EXPECT_EQ(masks[1], masks[3]);
  EXPECT_NE(masks[0], masks[1]);
  for (const std::string& mask : masks) EXPECT_TRUE(mask.starts_with("/model/")) << mask;
  for (const std::string& mask : masks) EXPECT_FALSE(mask.starts_with("/model/layers.")) << mask;
  EXPECT_TRUE(masks[0].starts_with("/model/Greater"));  // keys after the query
  EXPECT_TRUE(masks[1].starts_with("/model/Or"));       // or those before the window
  const auto subtractions = NodesOf(graph, "Sub");
  EXPECT_TRUE(std::ranges::any_of(subtractions, [](const auto& node) {
    return node.input(1) == "constant_i64_" + std::to_string(kWindow - 1);
  }));
}

TEST_F(OnnxOpsTest, DecodeGathersTheExpertsOfEachToken) {
  const ::onnx::GraphProto graph = ExportGraph(Decode());
  EXPECT_EQ(NodesOf(graph, "TopK").size(), 2u);  // one a MoE layer
  for (const char* op : {"CtxGather3D", "CtxScatter3D", "CtxScatter3DInt", "ScatterElements"}) {
    EXPECT_TRUE(NodesOf(graph, op).empty()) << op;
  }
  for (const std::string layer : {"layers.1.experts", "layers.3.experts"}) {
    for (const std::string part : {".gate", ".up", ".down"}) {
      const auto weight = Find(graph.initializer(), layer + part);
      EXPECT_EQ(weight.dims(0), kNumExperts);
      EXPECT_EQ(NumUses(graph, layer + part), 1);
      EXPECT_EQ(NumUses(graph, layer + part + ".bias"), 1);
    }
  }
}

TEST_F(OnnxOpsTest, WithoutBlockingEveryExpertSeesEveryRow) {
  const ::onnx::GraphProto graph = ExportGraph(Prefill(0));
  for (const char* op : {"CtxGather3D", "CtxScatter3D", "CtxScatter3DInt", "CumSum"}) {
    EXPECT_TRUE(NodesOf(graph, op).empty()) << op;
  }
  for (int e = 0; e < kNumExperts; ++e) {
    const std::string name = "layers.3.experts.down." + std::to_string(e);
    EXPECT_EQ(DimsOf(Find(graph.initializer(), name)), (std::vector<int64_t>{7, kHidden}));
    EXPECT_EQ(NumUses(graph, name), 1);
  }
}

// Padded rows route nowhere: a prefill's weights are multiplied by 1 or 0, a decode has no padding.
TEST_F(OnnxOpsTest, PaddingIsMaskedInPrefillWithExpertsOnly) {
  EXPECT_EQ(NodesOf(ExportGraph(Prefill(0)), "GreaterOrEqual").size(), 1u);
  EXPECT_EQ(NodesOf(ExportGraph(Prefill(2)), "GreaterOrEqual").size(), 1u);
  EXPECT_TRUE(NodesOf(ExportGraph(Decode()), "GreaterOrEqual").empty());
  DecoderSpec dense = TinySpec();
  dense.layers = {dense.layers[0], dense.layers[2]};
  const ::onnx::GraphProto graph = Export(dense, Prefill(0)).graph();
  EXPECT_TRUE(NodesOf(graph, "GreaterOrEqual").empty());
  EXPECT_TRUE(NodesOf(graph, "TopK").empty());
}

// num_nsp, packed_chunk_size, max_rows.
class BlockedGraph : public OnnxOpsTest,
                     public ::testing::WithParamInterface<std::tuple<int, int64_t, int64_t>> {};

// Of each MoE layer: a matched index a slot, and in each slot as many chunks as dispatch says; a
// chunk gathers its rows, their weights and their sums, and scatters the new sums.
TEST_P(BlockedGraph, HasTheChunksOfDispatch) {
  const auto [N, P, T] = GetParam();
  const ::onnx::GraphProto graph = ExportGraph(Prefill(N, P, T));
  const Placement placement = Placement::Create(kNumExperts, N).value();
  const size_t slots = placement.local_experts();
  const size_t chunks = NumStaticChunks(T, std::min(P, T));
  EXPECT_EQ(NodesOf(graph, "CtxScatter3DInt").size(), 2 * slots);
  EXPECT_EQ(NodesOf(graph, "CtxScatter3D").size(), 2 * slots * chunks);
  EXPECT_EQ(NodesOf(graph, "CtxGather3D").size(), 2 * slots * chunks * 3);
  for (size_t slot = 0; slot < slots; ++slot) {
    const std::string name = "layers.1.experts.up.slot" + std::to_string(slot);
    EXPECT_EQ(NumUses(graph, name), static_cast<int64_t>(chunks));
  }
  ExpectValid(Export(TinySpec(), Prefill(N, P, T)),
              {{"batch_size", 1}, {"seq_len", T}, {"ctx_len", 8}});
}

// A slot's matrices stand one behind another as the placement has the experts, zeros where an NSP
// has none; each is the checkpoint's, transposed.
TEST_P(BlockedGraph, HasTheSlotsOfThePlacement) {
  const auto [N, P, T] = GetParam();
  const ::onnx::GraphProto graph = ExportGraph(Prefill(N, P, T));
  const Placement placement = Placement::Create(kNumExperts, N).value();
  const auto& experts = std::get<MoeViews>(views_.layers[1].mlp).experts;
  for (int slot = 0; slot < placement.local_experts(); ++slot) {
    const auto tensor =
        Find(graph.initializer(), "layers.1.experts.gate.slot" + std::to_string(slot));
    ASSERT_EQ(DimsOf(tensor), (std::vector<int64_t>{N, kHidden, 7}));
    const auto values = ValuesOf<float>(tensor);
    for (int nsp = 0; nsp < N; ++nsp) {
      const int expert = placement.ExpertAt(nsp, slot);
      for (int64_t i = 0; i < kHidden * 7; ++i) {
        const float expected =
            expert == kNoExpert ? 0.0f : experts[expert].gate.weight.At(i % 7, i / 7);
        ASSERT_EQ(values[nsp * kHidden * 7 + i], expected) << slot << " " << nsp << " " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, BlockedGraph,
                         ::testing::Values(std::tuple(1, 4, 10), std::tuple(2, 4, 8),
                                           std::tuple(3, 256, 7), std::tuple(4, 1, 3),
                                           std::tuple(5, 5, 11)));

// A card drops rows of INT32_MAX; a stock runtime gets a spare row instead, and no such number.
TEST_F(OnnxOpsTest, SentinelsAreOutOfBoundsOrASpareRow) {
  const std::string no_row = std::to_string(std::numeric_limits<int32_t>::max());
  for (GraphOptions options : {Decode(), Prefill(0), Prefill(2)}) {
    const ::onnx::GraphProto dropping = ExportGraph(options);
    EXPECT_TRUE(NodesOf(dropping, "Pad").empty());
    EXPECT_GT(NumUses(dropping, "constant_i64_" + no_row), 0);
    options.sentinel = Sentinel::kInBounds;
    const ::onnx::GraphProto spare = ExportGraph(options);
    EXPECT_EQ(NumUses(spare, "constant_i64_" + no_row), 0);
    EXPECT_EQ(NumUses(spare, "constant_i32_" + no_row), 0);
    EXPECT_GE(NodesOf(spare, "Pad").size(), 8u);  // one a cache at least
  }
}

TEST_F(OnnxOpsTest, RoutersNormaliseAsTheirSpecSays) {
  const auto count = [&](RouterScore score, bool normalize, const std::string& op) {
    DecoderSpec spec = TinySpec();
    spec.moe.router.score = score;
    spec.moe.router.normalize = normalize;
    spec.layers[1].mlp = spec.layers[3].mlp = spec.moe;
    return NodesOf(Export(spec, Decode()).graph(), op).size();
  };
  EXPECT_EQ(count(RouterScore::kSoftmaxThenTopK, true, "Div"), 2u);  // one a MoE layer
  EXPECT_EQ(count(RouterScore::kSoftmaxThenTopK, false, "Div"), 0u);
  EXPECT_EQ(count(RouterScore::kTopKThenSoftmax, false, "Div"), 0u);
  EXPECT_EQ(count(RouterScore::kTopKThenSoftmax, false, "Softmax"), 4u + 2u);  // and attention's
}

// Images: tokens take rows of an input, the first layers' outputs those of another; a count goes
// from chunk to chunk.
TEST_F(OnnxOpsTest, ImagesAreInputsThatAreRetained) {
  DecoderSpec spec = TinySpec();
  spec.rope.num_axes = 3;
  spec.rope.axes = {0, 2};
  for (const int num_features : {0, 2}) {
    GraphOptions options = Prefill(2);
    options.image_token_id = 9;
    options.num_features = num_features;
    const ::onnx::ModelProto model = Export(spec, options);
    const ::onnx::GraphProto& graph = model.graph();
    const auto inputs = NamesOf(graph.input());
    const auto outputs = NamesOf(graph.output());
    const auto has = [](const auto& names, const char* name) {
      return std::ranges::count(names, name) == 1;
    };
    EXPECT_TRUE(has(inputs, "vision_embeds") && has(outputs, "vision_embeds_RetainedState"));
    EXPECT_TRUE(has(inputs, "image_idx") && has(outputs, "image_idx_output"));
    EXPECT_EQ(has(inputs, "deepstack_features"), num_features > 0);
    EXPECT_EQ(has(outputs, "deepstack_features_RetainedState"), num_features > 0);
    const int retained = num_features > 0 ? 1 : 0;
    EXPECT_EQ(NumUses(graph, "deepstack_features"), num_features + retained);
    const auto& positions = Find(graph.input(), "position_ids").type().tensor_type().shape();
    EXPECT_EQ(positions.dim(0).dim_value(), 4);  // the text's, then the axes'
    ExpectValid(model, {{"batch_size", 1},
                        {"seq_len", 10},
                        {"ctx_len", 8},
                        {"vision_batch_size", 1},
                        {"vision_size", 6}});
  }
}

// What layers share is made before them, so that equal layers are equal functions.
TEST_F(OnnxOpsTest, EqualLayersAreOneFunction) {
  for (GraphOptions options : AllKinds()) {
    options.use_subfunctions = true;
    const ::onnx::ModelProto model = Export(TinySpec(), options);
    std::set<std::string> names;
    for (const auto& function : model.functions()) {
      if (function.domain() == kLayerDomain) names.insert(function.name());
    }
    EXPECT_EQ(names, (std::set<std::string>{"TinyMoeDecoderLayer", "TinyMoeDecoderLayer.1"}));
    EXPECT_EQ(NodesOf(model.graph(), "TinyMoeDecoderLayer").size(), 2u);
    EXPECT_EQ(NodesOf(model.graph(), "TinyMoeDecoderLayer.1").size(), 2u);
  }
}

}  // namespace
}  // namespace expertile::onnx_target
