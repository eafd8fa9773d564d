#include "targets/onnx/onnx_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace expertile::onnx_target {
namespace {

constexpr int64_t kFloatType = 1;  // TensorProto::FLOAT
constexpr int64_t kInt64Type = 7;  // TensorProto::INT64
// Masked scores: the least finite float16, which a card computes in. Not -inf: a padded row, which
// sees no key, must stay finite.
constexpr float kMaskedScore = -65504.0f;

}  // namespace

OnnxOps::OnnxOps(GraphBuilder& graph, const DecoderSpec& spec, const GraphOptions& options,
                 std::optional<Placement> placement)
    : graph_(graph), spec_(spec), options_(options), placement_(std::move(placement)) {
  text_positions_ = "position_ids";
  if (spec.rope.num_axes > 1) {  // [1 + A, B, S]: the text's first
    text_positions_ =
        graph_.Node("Gather", {"position_ids", graph_.Int(0)}, {{"axis", int64_t{0}}});
  }
  batch_and_seq_ = graph_.Node("Shape", {"input_ids"});
}

void OnnxOps::Begin(const Step&) {
  for (const LayerSpec& layer : spec_.layers) {
    const int64_t window = AttentionOf(layer).window;
    if (!masks_.contains(window)) masks_[window] = MakeMask(window);
  }
  const bool has_moe = std::ranges::any_of(spec_.layers, &LayerSpec::is_moe);
  if (options_.kind == StepKind::kDecode || !has_moe) return;
  const std::string rows = graph_.Node("Reshape", {text_positions_, graph_.Ints({-1, 1})});
  row_valid_ = graph_.Node("Cast", {graph_.Node("GreaterOrEqual", {rows, graph_.Int(0)})},
                           {{"to", kFloatType}});
}

OnnxOps::Tensor OnnxOps::Embed(const Embedding& table) {
  const std::string ids = graph_.Node("Reshape", {"input_ids", graph_.Ints({-1})});
  return {graph_.Node("Gather", {table.name, ids}, {{"axis", int64_t{0}}}), table.width};
}

// The n-th image token of the graph's tokens takes row image_idx + n; the next chunk goes on from
// image_idx_output.
void OnnxOps::FindImageTokens() {
  const std::string ids = graph_.Node("Reshape", {"input_ids", graph_.Ints({-1})});
  const std::string is_image = graph_.Node("Equal", {ids, graph_.Int(options_.image_token_id)});
  is_image_ = graph_.Node("Unsqueeze", {is_image, graph_.Ints({1})});
  const std::string ones = graph_.Node("Cast", {is_image}, {{"to", kInt64Type}});
  const std::string first = graph_.Node("Reshape", {"image_idx", graph_.Ints({1})});
  const std::string counted =
      graph_.Node("Add", {graph_.Node("CumSum", {ones, graph_.Int(0)}), first});
  const std::string last = graph_.Node("Gather", {counted, graph_.Ints({-1})});
  graph_.NameOutput(graph_.Node("Reshape", {last, graph_.Ints({1, 1})}), "image_idx_output");
  image_rows_ =
      graph_.Node("Where", {is_image, graph_.Node("Sub", {counted, graph_.Int(1)}), graph_.Int(0)});
}

OnnxOps::Tensor OnnxOps::FromHost(std::span<const float>, int64_t width) {
  const int index = num_from_host_++;
  std::string rows = "vision_embeds";
  if (index > 0) {
    rows = graph_.Node("Gather", {"deepstack_features", graph_.Int(index - 1)},
                       {{"axis", int64_t{0}}});
  }
  return {graph_.Node("Reshape", {rows, graph_.Ints({-1, width})}), width};
}

std::string OnnxOps::ImageRowsOf(const Tensor& y) {
  if (is_image_.empty()) FindImageTokens();
  return graph_.Node("Gather", {y.name, image_rows_}, {{"axis", int64_t{0}}});
}

OnnxOps::Tensor OnnxOps::ReplaceRows(const Tensor& x, std::span<const int32_t>, const Tensor& y) {
  const std::string rows = ImageRowsOf(y);
  return {graph_.Node("Where", {is_image_, rows, x.name}), x.width};
}

OnnxOps::Tensor OnnxOps::AddToRows(const Tensor& x, std::span<const int32_t>, const Tensor& y) {
  const std::string rows = graph_.Node("Where", {is_image_, ImageRowsOf(y), graph_.Float(0.0f)});
  return {graph_.Node("Add", {x.name, rows}), x.width};
}

// Tables [ctx_len, D] of the model, looked up by position; with several axes each pair of a head
// takes its angle from its own.
OnnxOps::Rotation OnnxOps::RotationOf(const RopeSpec& rope, std::span<const int32_t>) {
  const auto half = static_cast<int64_t>(rope.inv_freq.size());
  const int64_t D = 2 * half;
  std::vector<float> cos(options_.ctx_len * D);
  std::vector<float> sin(options_.ctx_len * D);
  for (int64_t p = 0; p < options_.ctx_len; ++p) {
    for (int64_t j = 0; j < D; ++j) {
      const float angle = static_cast<float>(p) * rope.inv_freq[j % half];
      cos[p * D + j] = std::cos(angle) * rope.table_scale;
      sin[p * D + j] = std::sin(angle) * rope.table_scale;
    }
  }
  const auto add = [&](const char* name, const std::vector<float>& table) {
    graph_.BeginWeight(name, {options_.ctx_len, D});
    static_cast<void>(graph_.AppendWeight(table));
  };
  add("rope.cos", cos);
  add("rope.sin", sin);
  std::string positions = "position_ids";
  if (rope.num_axes > 1) {
    positions = graph_.Node("Slice", {"position_ids", graph_.Ints({1}),
                                      graph_.Ints({1 + rope.num_axes}), graph_.Ints({0})});
  }
  positions = graph_.Node("Max", {positions, graph_.Int(0)});  // a padded row's does not matter
  positions = graph_.Node("Reshape", {positions, graph_.Ints({rope.num_axes, -1})});  // [A,T]
  const auto look_up = [&](const std::string& table) {
    std::string rows =
        graph_.Node("Gather", {table, positions}, {{"axis", int64_t{0}}});  // [A,T,D]
    if (rope.num_axes > 1) rows = graph_.Node("Mul", {rows, "rope.axes"});
    rows = graph_.Node("Einsum", {rows}, {{"equation", std::string("atd->td")}});
    return graph_.Node("Unsqueeze", {rows, graph_.Ints({1})});
  };
  if (rope.num_axes > 1) {
    std::vector<float> axes(rope.num_axes * D, 0.0f);  // [A,1,D], one where the pair has the axis
    for (int64_t j = 0; j < D; ++j) axes[rope.AxisOf(j % half) * D + j] = 1.0f;
    graph_.BeginWeight("rope.axes", {rope.num_axes, 1, D});
    static_cast<void>(graph_.AppendWeight(axes));
  }
  return {look_up("rope.cos"), look_up("rope.sin"), D};
}

OnnxOps::Tensor OnnxOps::Scale(Tensor x, float scale) {
  if (scale == 1.0f) return x;
  return {graph_.Node("Mul", {x.name, graph_.Float(scale)}), x.width};
}

OnnxOps::Tensor OnnxOps::AddScaled(const Tensor& x, const Tensor& y, float scale) {
  const Tensor scaled = Scale(y, scale);
  return {graph_.Node("Add", {x.name, scaled.name}), x.width};
}

OnnxOps::Tensor OnnxOps::RmsNorm(const Tensor& x, const Vector& weight, float epsilon) {
  const bool is_whole_row = x.width == weight.size;
  std::string groups = x.name;
  if (!is_whole_row) {
    groups =
        graph_.Node("Reshape", {x.name, graph_.Ints({-1, x.width / weight.size, weight.size})});
  }
  std::string normed =
      graph_.Function("CustomRMSNorm", {groups, weight.name}, {{"epsilon", epsilon}});
  if (!is_whole_row) normed = graph_.Node("Reshape", {normed, graph_.Ints({-1, x.width})});
  return {normed, x.width};
}

OnnxOps::Tensor OnnxOps::Multiply(const Tensor& x, const Linear& linear) {
  std::string y = graph_.Node("MatMul", {x.name, linear.weight});
  if (!linear.bias.empty()) y = graph_.Node("Add", {y, linear.bias});
  return {y, linear.out};
}

OnnxOps::Tensor OnnxOps::Rotate(const Tensor& x, const Rotation& rotation) {
  const int64_t D = rotation.head_dim;
  const std::string heads = graph_.Node("Reshape", {x.name, graph_.Ints({-1, x.width / D, D})});
  const auto part = [&](int64_t begin, int64_t end) {
    return graph_.Node("Slice",
                       {heads, graph_.Ints({begin}), graph_.Ints({end}), graph_.Ints({2})});
  };
  const std::string turned = graph_.Node(
      "Concat", {graph_.Node("Neg", {part(D / 2, D)}), part(0, D / 2)}, {{"axis", int64_t{2}}});
  const std::string sum = graph_.Node("Add", {graph_.Node("Mul", {heads, rotation.cos}),
                                              graph_.Node("Mul", {turned, rotation.sin})});
  return {graph_.Node("Reshape", {sum, graph_.Ints({-1, x.width})}), x.width};
}

std::string OnnxOps::Heads(const Tensor& x, int64_t num_heads) {
  const std::string shape =
      graph_.Node("Concat", {batch_and_seq_, graph_.Ints({num_heads, x.width / num_heads})},
                  {{"axis", int64_t{0}}});
  return graph_.Node("Transpose", {graph_.Node("Reshape", {x.name, shape})},
                     {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
}

// The cache NAME with `rows` [B,kv_heads,S,D] at their positions; those at -1 are dropped.
std::string OnnxOps::UpdateCache(const std::string& name, const std::string& rows) {
  const std::string is_padding = graph_.Node("Less", {text_positions_, graph_.Int(0)});
  std::string updated;
  if (options_.sentinel == Sentinel::kInt32Max) {
    const std::string dropped = graph_.Int(std::numeric_limits<int32_t>::max());
    const std::string positions = graph_.Node("Where", {is_padding, dropped, text_positions_});
    updated = graph_.Function("CtxScatter", {name, positions, rows});
  } else {
    const std::string shape = graph_.Node("Shape", {name});
    const std::string ctx =
        graph_.Node("Gather", {shape, graph_.Ints({2})}, {{"axis", int64_t{0}}});
    const std::string positions = graph_.Node("Where", {is_padding, ctx, text_positions_});
    const std::string longer = graph_.Node("Pad", {name, graph_.Ints({0, 0, 0, 0, 0, 0, 1, 0})});
    const std::string written = graph_.Function("CtxScatter", {longer, positions, rows});
    updated = graph_.Node("Slice", {written, graph_.Ints({0}), ctx, graph_.Ints({2})});
  }
  graph_.NameOutput(updated, name + "_RetainedState");
  return updated;
}

std::string OnnxOps::MakeMask(int64_t window) {
  const std::string shape = graph_.Node("Shape", {"past_key.0"});
  const std::string ctx = graph_.Node("Gather", {shape, graph_.Int(2)}, {{"axis", int64_t{0}}});
  const std::string keys = graph_.Node("Range", {graph_.Int(0), ctx, graph_.Int(1)});  // [C]
  const std::string queries =
      graph_.Node("Unsqueeze", {text_positions_, graph_.Ints({1, 2, 4})});  // [B,1,1,S,1]
  std::string masked = graph_.Node("Greater", {keys, queries});
  if (window > 0) {
    const std::string first = graph_.Node("Sub", {queries, graph_.Int(window - 1)});
    masked = graph_.Node("Or", {masked, graph_.Node("Less", {keys, first})});
  }
  return masked;
}

OnnxOps::Tensor OnnxOps::Attention(const AttentionArgs& args, const Tensor& query,
                                   const Tensor& key, const Tensor& value, const Vector* sinks) {
  const AttentionSpec& spec = AttentionOf(spec_.layers[args.layer]);
  const int64_t D = spec.head_dim;
  const int64_t kv_heads = spec.num_kv_heads;
  const int64_t group = spec.num_heads / kv_heads;
  const std::string index = std::to_string(args.layer);
  const std::string keys = UpdateCache("past_key." + index, Heads(key, kv_heads));
  const std::string values = UpdateCache("past_value." + index, Heads(value, kv_heads));
  // Query heads of a group side by side: [B,kv_heads,G,S,D] against [B,kv_heads,1,C,D].
  const auto B = graph_.Node("Slice", {batch_and_seq_, graph_.Ints({0}), graph_.Ints({1})});
  const auto S = graph_.Node("Slice", {batch_and_seq_, graph_.Ints({1}), graph_.Ints({2})});
  const std::string grouped_shape = graph_.Node(
      "Concat", {B, graph_.Ints({kv_heads, group}), S, graph_.Ints({D})}, {{"axis", int64_t{0}}});
  const std::string grouped = graph_.Node("Reshape", {Heads(query, spec.num_heads), grouped_shape});
  const std::string key_columns = graph_.Node(
      "Unsqueeze", {graph_.Node("Transpose", {keys}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}}),
                    graph_.Ints({2})});
  std::string scores =
      graph_.Node("Mul", {graph_.Node("MatMul", {grouped, key_columns}), graph_.Float(args.scale)});
  scores = graph_.Node("Where", {masks_.at(args.window), graph_.Float(kMaskedScore), scores});
  if (sinks != nullptr) {
    const std::string column = graph_.Node(
        "Expand", {graph_.Node("Reshape", {sinks->name, graph_.Ints({1, kv_heads, group, 1, 1})}),
                   graph_.Node("Concat", {B, graph_.Ints({kv_heads, group}), S, graph_.Ints({1})},
                               {{"axis", int64_t{0}}})});
    scores = graph_.Node("Concat", {scores, column}, {{"axis", int64_t{4}}});
  }
  std::string probabilities = graph_.Node("Softmax", {scores}, {{"axis", int64_t{-1}}});
  if (sinks != nullptr) {
    const std::string ctx = graph_.Node("Gather", {graph_.Node("Shape", {keys}), graph_.Ints({2})},
                                        {{"axis", int64_t{0}}});
    probabilities = graph_.Node("Slice", {probabilities, graph_.Ints({0}), ctx, graph_.Ints({4})});
  }
  const std::string mixed =
      graph_.Node("MatMul", {probabilities, graph_.Node("Unsqueeze", {values, graph_.Ints({2})})});
  const std::string rows =
      graph_.Node("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 3, 1, 2, 4}}});
  return {graph_.Node("Reshape", {rows, graph_.Ints({-1, query.width})}), query.width};
}

OnnxOps::Routing OnnxOps::Route(const Tensor& x, const Linear& router, const RouterSpec& spec) {
  const std::string logits = Multiply(x, router).name;
  const int64_t K = spec.experts_per_token;
  const bool softmax_first = spec.score == RouterScore::kSoftmaxThenTopK;
  const std::string scores =
      softmax_first ? graph_.Node("Softmax", {logits}, {{"axis", int64_t{-1}}}) : logits;
  const GraphBuilder::Largest largest = graph_.TopK(scores, K);
  const std::string& weights = largest.values;
  Routing routing{largest.indices, weights, router.out, K};
  if (!softmax_first) {
    routing.weights = graph_.Node("Softmax", {weights}, {{"axis", int64_t{-1}}});
  } else if (spec.normalize) {
    const std::string sum = graph_.Node(
        "Unsqueeze",
        {graph_.Node("Einsum", {weights}, {{"equation", std::string("tk->t")}}), graph_.Ints({1})});
    routing.weights = graph_.Node("Div", {weights, sum});
  }
  return routing;
}

OnnxOps::Tensor OnnxOps::Rows(const Tensor& x, std::span<const int32_t>) {
  const std::string shape =
      graph_.Node("Concat", {batch_and_seq_, graph_.Ints({x.width})}, {{"axis", int64_t{0}}});
  const std::string rows = graph_.Node("Reshape", {x.name, shape});  // [B,S,width]
  const std::string last =
      graph_.Node("ArgMax", {text_positions_}, {{"axis", int64_t{1}}, {"keepdims", int64_t{1}}});
  return {graph_.Node("GatherND", {rows, last}, {{"batch_dims", int64_t{1}}}), x.width};
}

}  // namespace expertile::onnx_target
