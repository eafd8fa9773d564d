// The reference target: Ops in plain C++, float32 values with float64 sums. It is the truth for
// every other target. Not fast, and not meant to be: it is written to be read beside the formulas.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dispatch/chunk_plan.h"
#include "dispatch/matched_index.h"
#include "targets/reference/kv_cache.h"
#include "targets/reference/row_ops.h"
#include "targets/reference/vision_ops.h"

namespace expertile::reference {

class ReferenceOps : public ReferenceRowOps {
 public:
  using Inputs = Step;  // the step's own spans
  using Mlp = reference::Mlp;
  using Experts = reference::Experts;
  using Routing = reference::Routing;
  using Vision = ReferenceVisionOps;

  static Result<ReferenceOps> Create(const DecoderSpec& spec, const Context& context);
  static std::string_view IsaOf(const Context&) { return "portable"; }

  Result<Inputs> Begin(const Step& step) {
    is_repeated_ = step.finite != nullptr;
    return step;
  }
  bool GoesOn(const Inputs& inputs) const { return inputs.GoesOn(); }
  void BeginLayer(int) {}
  void EndLayer() {}
  Tensor Embed(const Embedding& table, const Inputs& inputs) const;
  Rotation RotationOf(const RopeSpec& rope, const Inputs& inputs) const {
    return ReferenceRowOps::RotationOf(rope, inputs.rope_positions);
  }
  Tensor PlaceImages(Tensor x, const Inputs& inputs) const;
  Tensor AddDeepstack(Tensor x, int layer, const Inputs& inputs) const;
  Tensor WantedRows(const Tensor& x, const Inputs& inputs) const;
  std::array<Tensor, 3> MultiplyThree(const Tensor& x, const Linear& query, const Linear& key,
                                      const Linear& value) const {
    return {Multiply(x, query), Multiply(x, key), Multiply(x, value)};
  }
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon) const;
  Tensor Attention(int layer, const AttentionSpec& spec, const Inputs& inputs, const Tensor& query,
                   const Tensor& key, const Tensor& value, const Vector* sinks);
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec,
                const Inputs& inputs) const;
  Tensor Moe(const Tensor& x, const Routing& routing, const Experts& experts,
             const GatedMlpSpec& spec);
  Tensor GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec) const;
  Tensor AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate) const;
  void TraceMoe(const Inputs& inputs, int layer, const Tensor& x, const Routing& routing,
                const Tensor& y) const {
    if (inputs.trace == nullptr) return;
    inputs.trace->Record(layer, x.values, routing.ids, routing.weights, y.values);
  }
  void TraceHidden(const Inputs& inputs, int layer, const Tensor& hidden) const {
    if (inputs.finite != nullptr) inputs.finite->Record(layer, hidden.values);
  }

  // Positions 0 to n - 1 of the sequence with these blocks: keys and values [kv_heads, n, D].
  Status ReadKv(int layer, BlockTable blocks, int64_t n, std::span<float> keys,
                std::span<float> values);
  Status WriteKv(int layer, BlockTable blocks, int64_t n, std::span<const float> keys,
                 std::span<const float> values);
  Status CopyBlock(int32_t from, int32_t to) {
    for (KvCache& cache : caches_) cache.CopyBlock(from, to);
    return {};
  }
  const NspStatistics& nsp_statistics() const { return statistics_; }
  StageClock& stage_clock() { return stage_clock_; }
  const StageClock& stage_clock() const { return stage_clock_; }

 private:
  ReferenceOps(const Context& context, std::vector<KvCache> caches)
      : ReferenceRowOps(context), caches_(std::move(caches)) {}

  // One NSP's share of a layer: its chunks one after another, gathered, run and scattered to
  // `outputs` [T K, H].
  void RunNsp(const Tensor& x, const Experts& experts, const GatedMlpSpec& spec, int nsp,
              Tensor& outputs) const;

  // Keys and values of the step's rows to the cache.
  void WriteStep(KvCache& cache, const Inputs& inputs, const Tensor& key, const Tensor& value);

  std::vector<KvCache> caches_;  // of the layers
  MatchedIndex matched_;
  ChunkPlan plan_;
  bool is_repeated_ = false;  // the step is not counted
  NspStatistics statistics_;
  StageClock stage_clock_;
};

}  // namespace expertile::reference
