// OnnxOps: Ops whose calls emit nodes, so that what is exported is what is run. Rows of a Tensor
// are the graph's batch_size x seq_len positions, row-major. Not a runtime: nothing is computed.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dispatch/placement.h"
#include "model/ops.h"
#include "targets/onnx/graph_builder.h"
#include "targets/onnx/graph_weights.h"
#include "targets/target.h"

namespace expertile::onnx_target {

// What an index of INT32_MAX, "no row", means.
enum class Sentinel {
  kInt32Max,  // the device drops such rows (Cloud AI 100); stock runtimes refuse them
  kInBounds,  // a spare row takes them, which is cut off in the end: any runtime can run it
};

// A graph is for one kind of step: how its MoE layers do their work is fixed in it.
enum class StepKind {
  kPrefill,  // many tokens: expert by expert, NSP-blocked or one after another
  kDecode,   // a token or so of each sequence: the K experts' weights are gathered
};

struct GraphOptions {
  StepKind kind = StepKind::kPrefill;
  MoeBlocking blocking;  // prefill only
  int64_t max_rows = 1;  // T that the packed chunks are unrolled for: batch_size * seq_len
  int64_t ctx_len = 1;   // rows of the RoPE tables
  Sentinel sentinel = Sentinel::kInt32Max;
  bool use_subfunctions = false;  // one ONNX function per distinct decoder layer
  // Image tokens take rows of the input vision_embeds, and those of deepstack_features, from row
  // image_idx on; 0 = no such inputs.
  int32_t image_token_id = 0;
  int num_features = 0;
};

class OnnxOps {
 public:
  // The step: names of what the graph's inputs give to all layers.
  struct Inputs {
    std::string text_positions;  // int64 [B,S]
    std::string batch_and_seq;   // int64 [2]: B, S
    std::string row_valid;       // float [T,1]: 1, or 0 where the position is -1; prefill only
    std::string is_image;        // bool [T,1]; empty in a graph without images
    std::string image_rows;      // int64 [T], of the image tokens' rows in the inputs
    std::map<int64_t, std::string> masks;  // of MakeMask, by window
  };
  struct Tensor {
    std::string name;  // of a value [T, width]
    int64_t width = 0;
  };
  using Vector = GraphVector;
  using Embedding = GraphTable;
  using Linear = GraphMatrix;
  using Mlp = GraphMlp;
  using Experts = GraphExperts;
  struct Routing {
    std::string ids;      // int64 [T,K]
    std::string weights;  // [T,K]; of padded rows 0 in a prefill graph
    int64_t num_experts = 0;
    int64_t experts_per_token = 0;
  };
  struct Rotation {
    std::string cos;  // [T,1,D]
    std::string sin;
    int64_t head_dim = 0;
  };

  OnnxOps(GraphBuilder& graph, const DecoderSpec& spec, const GraphOptions& options,
          std::optional<Placement> placement);

  // Makes the step's inputs, so that none of what layers share is in a layer.
  Inputs Begin();
  void BeginLayer(int index) { graph_.BeginLayer(index); }
  void EndLayer() { graph_.EndLayer(); }
  Tensor Embed(const Embedding& table, const Inputs& inputs);
  Tensor PlaceImages(const Tensor& x, const Inputs& inputs);
  Tensor AddDeepstack(const Tensor& x, int layer, const Inputs& inputs);
  Rotation RotationOf(const RopeSpec& rope, const Inputs& inputs);
  Tensor Scale(Tensor x, float scale);
  Tensor AddScaled(const Tensor& x, const Tensor& y, float scale);
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon);
  Tensor Multiply(const Tensor& x, const Linear& linear);
  std::array<Tensor, 3> MultiplyThree(const Tensor& x, const Linear& query, const Linear& key,
                                      const Linear& value) {
    return {Multiply(x, query), Multiply(x, key), Multiply(x, value)};
  }
  Tensor Rotate(const Tensor& x, const Rotation& rotation);
  Tensor Attention(int layer, const AttentionSpec& spec, const Inputs& inputs, const Tensor& query,
                   const Tensor& key, const Tensor& value, const Vector* sinks);
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec,
                const Inputs& inputs);
  Tensor Moe(const Tensor& x, const Routing& routing, const Experts& experts,
             const GatedMlpSpec& spec);
  Tensor GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec);
  Tensor AddGated(const Tensor& x, const Tensor& y, const Tensor& z, const Linear& gate);
  // The row of the greatest position of every sequence: [B, width].
  Tensor WantedRows(const Tensor& x, const Inputs& inputs);
  // Nothing is computed, so there is nothing to stop or to trace.
  bool GoesOn(const Inputs&) const { return true; }
  void TraceMoe(const Inputs&, int, const Tensor&, const Routing&, const Tensor&) {}
  void TraceHidden(const Inputs&, int, const Tensor&) {}

 private:
  void FindImageTokens(Inputs& inputs);
  // Rows of an input [.., vision_size, H], one for every token; of meaning in image tokens' rows.
  std::string ImageRowsOf(const std::string& rows, const Inputs& inputs);
  // [T, n D] -> [B,n,S,D]
  std::string Heads(const Tensor& x, int64_t num_heads, const Inputs& inputs);
  std::string UpdateCache(const std::string& name, const std::string& rows, const Inputs& inputs);
  // bool [B,1,1,S,C]: keys that a query does not see.
  std::string MakeMask(int64_t window, const std::string& text_positions);
  // [.., rows, H] through the matrices of names NAME.gate + suffix and so on.
  std::string MlpRows(const std::string& x, const Mlp& mlp, const std::string& suffix,
                      const GatedMlpSpec& spec);
  std::string Activate(const std::string& gate, const std::string& up, const GatedMlpSpec& spec);
  std::string RoutingMatrix(const Routing& routing, int64_t num_experts);  // [T, num_experts]
  std::string RoutingBySlot(const Routing& routing);                       // [L,N,T]
  Tensor MoeByGathering(const Tensor& x, const Routing& routing, const Experts& experts,
                        const GatedMlpSpec& spec);
  Tensor MoeOneByOne(const Tensor& x, const Routing& routing, const Experts& experts,
                     const GatedMlpSpec& spec);
  Tensor MoeBlocked(const Tensor& x, const Routing& routing, const Experts& experts,
                    const GatedMlpSpec& spec);
  // One slot of every NSP, packed.
  struct PackedSlot {
    std::string rows;       // [N,T,H]
    std::string weights;    // [N,T,1]
    std::string table;      // int32 [N, C P], the matched index
    std::string num_valid;  // int32 [N,1], its entries that are rows
    std::string suffix;     // of the names of the slot's weights
    int64_t chunk_size;     // P
  };
  std::string AddChunk(const PackedSlot& slot, int64_t chunk, const std::string& sum,
                       const Experts& experts, const GatedMlpSpec& spec);
  std::string PackedTable(const std::string& active, const std::string& num_rows,
                          int64_t num_chunks, int64_t chunk_size);

  GraphBuilder& graph_;
  const DecoderSpec& spec_;
  GraphOptions options_;
  std::optional<Placement> placement_;
};

}  // namespace expertile::onnx_target
