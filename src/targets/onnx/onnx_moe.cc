// The MoE layer as nodes, in three ways: decode's gather of K experts a token, one expert after
// another, and NSP-blocked over packed chunks.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "dispatch/chunk_plan.h"
#include "targets/onnx/onnx_ops.h"

namespace expertile::onnx_target {
namespace {

constexpr int64_t kInt32Type = 6;     // TensorProto::INT32
constexpr int32_t kNoRow = kNoToken;  // in the matched index

}  // namespace

std::string OnnxOps::Activate(const std::string& gate, const std::string& up,
                              const GatedMlpSpec& spec) {
  if (spec.activation == GatedActivation::kSilu) {
    return graph_.Node("Mul", {graph_.Node("Mul", {gate, graph_.Node("Sigmoid", {gate})}), up});
  }
  const std::string limit = graph_.Float(spec.limit);
  const std::string low = graph_.Float(-spec.limit);
  const std::string g = graph_.Node("Min", {gate, limit});
  const std::string u = graph_.Node("Min", {graph_.Node("Max", {up, low}), limit});
  const std::string gated = graph_.Node(
      "Mul", {g, graph_.Node("Sigmoid", {graph_.Node("Mul", {g, graph_.Float(spec.alpha)})})});
  return graph_.Node("Mul", {graph_.Node("Add", {u, graph_.Float(1.0f)}), gated});
}

std::string OnnxOps::MlpRows(const std::string& x, const Mlp& mlp, const std::string& suffix,
                             const GatedMlpSpec& spec) {
  const auto multiply = [&](const std::string& rows, const char* matrix) {
    const std::string name = mlp.name + matrix;
    const std::string y = graph_.Node("MatMul", {rows, name + suffix});
    return mlp.has_bias ? graph_.Node("Add", {y, name + ".bias" + suffix}) : y;
  };
  const std::string gate = multiply(x, ".gate");
  const std::string up = multiply(x, ".up");
  return multiply(Activate(gate, up, spec), ".down");
}

OnnxOps::Tensor OnnxOps::GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec) {
  return {MlpRows(x.name, mlp, ".0", spec), x.width};
}

OnnxOps::Tensor OnnxOps::AddGated(const Tensor& x, const Tensor& y, const Tensor& z,
                                  const Linear& gate) {
  const std::string weight = graph_.Node("Sigmoid", {Multiply(z, gate).name});  // [T,1]
  return {graph_.Node("Add", {x.name, graph_.Node("Mul", {y.name, weight})}), x.width};
}

OnnxOps::Tensor OnnxOps::Moe(const Tensor& x, const Routing& routing, const Experts& experts,
                             const GatedMlpSpec& spec) {
  if (options_.kind == StepKind::kDecode) return MoeByGathering(x, routing, experts, spec);
  if (!placement_) return MoeOneByOne(x, routing, experts, spec);
  return MoeBlocked(x, routing, experts, spec);
}

// The weights of the K experts of every token, gathered: [T K, in, out], one product each.
OnnxOps::Tensor OnnxOps::MoeByGathering(const Tensor& x, const Routing& routing,
                                        const Experts& experts, const GatedMlpSpec& spec) {
  const int64_t K = routing.experts_per_token;
  const int64_t H = experts.hidden_size;
  const std::string ids = graph_.Node("Reshape", {routing.ids, graph_.Ints({-1})});
  const auto multiply = [&](const std::string& rows, const char* matrix) {
    const std::string name = experts.name + matrix;
    const auto chosen = [&](const std::string& all) {
      return graph_.Node("Gather", {all, ids}, {{"axis", int64_t{0}}});
    };
    const std::string y = graph_.Node("MatMul", {rows, chosen(name)});
    return experts.has_bias ? graph_.Node("Add", {y, chosen(name + ".bias")}) : y;
  };
  const std::string repeated = graph_.Node(
      "Reshape", {graph_.Node("Expand", {graph_.Node("Unsqueeze", {x.name, graph_.Ints({1})}),
                                         graph_.Ints({1, K, 1})}),
                  graph_.Ints({-1, 1, H})});
  const std::string gate = multiply(repeated, ".gate");
  const std::string up = multiply(repeated, ".up");
  const std::string down = multiply(Activate(gate, up, spec), ".down");
  const std::string rows = graph_.Node("Reshape", {down, graph_.Ints({-1, K, H})});
  const std::string weights = graph_.Node("Unsqueeze", {routing.weights, graph_.Ints({2})});
  return {graph_.Node("Einsum", {graph_.Node("Mul", {rows, weights})},
                      {{"equation", std::string("tkh->th")}}),
          H};
}

// The weight of every token for each of `num_experts` experts, of which those beyond E are never
// routed to; zero for padded rows.
std::string OnnxOps::RoutingMatrix(const Routing& routing, int64_t num_experts) {
  const std::string T = graph_.Node(
      "Slice", {graph_.Node("Shape", {routing.ids}), graph_.Ints({0}), graph_.Ints({1})});
  const std::string zeros = graph_.Node(
      "Expand", {graph_.Float(0.0f),
                 graph_.Node("Concat", {T, graph_.Ints({num_experts})}, {{"axis", int64_t{0}}})});
  const std::string weights = graph_.Node("Mul", {routing.weights, row_valid_});
  return graph_.Node("ScatterElements", {zeros, routing.ids, weights}, {{"axis", int64_t{1}}});
}

OnnxOps::Tensor OnnxOps::MoeOneByOne(const Tensor& x, const Routing& routing,
                                     const Experts& experts, const GatedMlpSpec& spec) {
  const std::string weights = RoutingMatrix(routing, experts.num_experts);
  std::string sum;
  for (int64_t e = 0; e < experts.num_experts; ++e) {
    const std::string column =
        graph_.Node("Slice", {weights, graph_.Ints({e}), graph_.Ints({e + 1}), graph_.Ints({1})});
    const std::string y = graph_.Node(
        "Mul",
        {MlpRows(x.name, {experts.name, experts.has_bias}, "." + std::to_string(e), spec), column});
    sum = sum.empty() ? y : graph_.Node("Add", {sum, y});
  }
  return {sum, x.width};
}

// The routing matrix [T, L N] as [L,N,T]: of every slot and NSP the weights of the expert there.
std::string OnnxOps::RoutingBySlot(const Routing& routing) {
  const int64_t N = placement_->num_nsp();
  const int64_t L = placement_->local_experts();
  // A reshape is all it takes, as the placement has the experts in order.
  for (int e = 0; e < placement_->num_experts(); ++e) EXPERTILE_DCHECK(placement_->PlaceOf(e) == e);
  const std::string weights = graph_.Node("Transpose", {RoutingMatrix(routing, L * N)},
                                          {{"perm", std::vector<int64_t>{1, 0}}});
  return graph_.Node("Reshape", {weights, graph_.Ints({L, N, -1})});
}

// active bool [N,T] -> the matched index int32 [N, C P]: the rows of each NSP's tokens in order,
// then "no row": INT32_MAX, or the spare row T.
std::string OnnxOps::PackedTable(const std::string& active, const std::string& num_rows,
                                 int64_t num_chunks, int64_t chunk_size) {
  const int64_t N = placement_->num_nsp();
  const int64_t columns = num_chunks * chunk_size;
  const bool in_bounds = options_.sentinel == Sentinel::kInBounds;
  const int64_t width = columns + (in_bounds ? 1 : 0);  // a spare column takes what is dropped
  const std::string ones = graph_.Node("Cast", {active}, {{"to", kInt32Type}});
  const std::string prefix = graph_.Node("CumSum", {ones, graph_.Int(1)});
  const std::string places =
      graph_.Node("Where", {active, graph_.Node("Sub", {prefix, graph_.Int32(1)}),
                            graph_.Int32(in_bounds ? static_cast<int32_t>(columns) : kNoRow)});
  const std::string T = graph_.Node("Cast", {num_rows}, {{"to", kInt32Type}});
  const std::string no_row = in_bounds ? T : graph_.Int32(kNoRow);
  const std::string empty = graph_.Node("Expand", {no_row, graph_.Ints({N, width, 1})});
  const std::string rows = graph_.Node("Range", {graph_.Int32(0), T, graph_.Int32(1)});
  const std::string shape = graph_.Node(
      "Concat",
      {graph_.Ints({N}), graph_.Node("Reshape", {num_rows, graph_.Ints({1})}), graph_.Ints({1})},
      {{"axis", int64_t{0}}});
  const std::string updates =
      graph_.Node("Expand", {graph_.Node("Reshape", {rows, graph_.Ints({1, -1, 1})}), shape});
  const std::string table = graph_.Function("CtxScatter3DInt", {empty, places, updates});
  return graph_.Node("Squeeze", {table, graph_.Ints({2})});
}

// Chunk `chunk` of a slot: its rows through the NSPs' experts, weighted, added to `sum`. Rows
// beyond the slot's tokens become zero, and land nowhere.
std::string OnnxOps::AddChunk(const PackedSlot& slot, int64_t chunk, const std::string& sum,
                              const Experts& experts, const GatedMlpSpec& spec) {
  const int64_t P = slot.chunk_size;
  const std::string indices = graph_.Node(
      "Slice",
      {slot.table, graph_.Ints({chunk * P}), graph_.Ints({(chunk + 1) * P}), graph_.Ints({1})});
  const std::string packed = graph_.Function("CtxGather3D", {slot.rows, indices});
  const std::string y = MlpRows(packed, {experts.name, experts.has_bias}, slot.suffix, spec);
  const std::string weighted =
      graph_.Node("Mul", {y, graph_.Function("CtxGather3D", {slot.weights, indices})});
  const std::string updated =
      graph_.Node("Add", {graph_.Function("CtxGather3D", {sum, indices}), weighted});
  const std::string places =
      graph_.Node("Range", {graph_.Int32(static_cast<int32_t>(chunk * P)),
                            graph_.Int32(static_cast<int32_t>((chunk + 1) * P)), graph_.Int32(1)});
  const std::string is_valid =
      graph_.Node("Unsqueeze", {graph_.Node("Less", {places, slot.num_valid}), graph_.Ints({2})});
  const std::string kept = graph_.Node("Where", {is_valid, updated, graph_.Float(0.0f)});
  return graph_.Function("CtxScatter3D", {sum, indices, kept});
}

// Slot by slot, all NSPs at once: pack the tokens that chose the slot's experts, then gather a
// chunk, run the experts on it, and add the weighted rows to the NSP's own sum.
OnnxOps::Tensor OnnxOps::MoeBlocked(const Tensor& x, const Routing& routing, const Experts& experts,
                                    const GatedMlpSpec& spec) {
  const int64_t N = placement_->num_nsp();
  const int64_t L = placement_->local_experts();
  const int64_t H = experts.hidden_size;
  const int64_t P =
      std::max<int64_t>(1, std::min(options_.blocking.packed_chunk_size, options_.max_rows));
  const int64_t C = NumStaticChunks(options_.max_rows, P);
  const bool in_bounds = options_.sentinel == Sentinel::kInBounds;
  const std::string num_rows = graph_.Node(
      "Gather", {graph_.Node("Shape", {x.name}), graph_.Int(0)}, {{"axis", int64_t{0}}});
  // One row more, of zeros, in the place of "no row".
  const auto with_spare = [&](const std::string& rows) {
    return in_bounds ? graph_.Node("Pad", {rows, graph_.Ints({0, 0, 0, 0, 1, 0})}) : rows;
  };
  const std::string row_count = graph_.Node("Reshape", {num_rows, graph_.Ints({1})});
  const std::string shape = graph_.Node("Concat", {graph_.Ints({N}), row_count, graph_.Ints({H})},
                                        {{"axis", int64_t{0}}});
  const std::string rows = with_spare(graph_.Node("Expand", {x.name, shape}));  // [N,T,H]
  std::string sum = with_spare(graph_.Node("Expand", {graph_.Float(0.0f), shape}));
  const std::string by_slot = RoutingBySlot(routing);
  for (int64_t slot = 0; slot < L; ++slot) {
    const std::string weights =
        graph_.Node("Gather", {by_slot, graph_.Int(slot)}, {{"axis", int64_t{0}}});  // [N,T]
    const std::string active = graph_.Node("Greater", {weights, graph_.Float(0.0f)});
    const std::string table = PackedTable(active, num_rows, C, P);
    const std::string counts =
        graph_.Node("Einsum", {graph_.Node("Cast", {active}, {{"to", kInt32Type}})},
                    {{"equation", std::string("nt->n")}});
    const std::string num_valid = graph_.Node("Unsqueeze", {counts, graph_.Ints({1})});  // [N,1]
    const std::string row_weights =
        with_spare(graph_.Node("Unsqueeze", {weights, graph_.Ints({2})}));  // [N,T,1]
    const PackedSlot packed{rows, row_weights, table, num_valid, ".slot" + std::to_string(slot), P};
    for (int64_t chunk = 0; chunk < C; ++chunk) {
      sum = AddChunk(packed, chunk, sum, experts, spec);
    }
  }
  std::string total = graph_.Node("Einsum", {sum}, {{"equation", std::string("nth->th")}});
  if (in_bounds) {
    total = graph_.Node("Slice", {total, graph_.Ints({0}), row_count, graph_.Ints({0})});
  }
  return {total, H};
}

}  // namespace expertile::onnx_target
