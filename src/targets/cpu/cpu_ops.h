// The CPU target's decoder: Ops on packed weights and tile kernels, all workers on every op.
// Not the kernels (targets/cpu/kernel_table.h), nor the MoE block's schedule (targets/cpu/moe.h).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "targets/cpu/attention.h"
#include "targets/cpu/gated_mlp.h"
#include "targets/cpu/kv_cache.h"
#include "targets/cpu/linear.h"
#include "targets/cpu/moe.h"
#include "targets/cpu/packed_weights.h"
#include "targets/cpu/row_ops.h"
#include "targets/cpu/vision_ops.h"

namespace expertile::cpu {

class CpuOps : public CpuRowOps {
 public:
  using Inputs = Step;  // the step's own spans
  using Mlp = PackedMlp;
  using Experts = PackedExperts;
  using Vision = CpuVisionOps;

  struct Routing {
    int experts_per_token = 0;   // K
    std::vector<int32_t> ids;    // [T,K]
    std::vector<float> weights;  // [T,K]
  };

  static Result<CpuOps> Create(const DecoderSpec& spec, const Context& context);
  static std::string_view IsaOf(const Context& context) { return context.table->name; }

  Result<Inputs> Begin(const Step& step) {
    failure_ = {};
    is_repeated_ = step.finite != nullptr;
    return step;
  }
  bool GoesOn(const Inputs& inputs) const { return inputs.GoesOn(); }
  void BeginLayer(int index) { layer_ = index; }
  void EndLayer() {}
  Tensor Embed(const Embedding& table, const Inputs& inputs);
  Rotation RotationOf(const RopeSpec& rope, const Inputs& inputs) {
    return CpuRowOps::RotationOf(rope, inputs.rope_positions);
  }
  Tensor PlaceImages(Tensor x, const Inputs& inputs);
  Tensor AddDeepstack(Tensor x, int layer, const Inputs& inputs);
  Tensor WantedRows(const Tensor& x, const Inputs& inputs);
  std::array<Tensor, 3> MultiplyThree(const Tensor& x, const Linear& query, const Linear& key,
                                      const Linear& value);
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon);
  Tensor Attention(int layer, const AttentionSpec& spec, const Inputs& inputs, const Tensor& query,
                   const Tensor& key, const Tensor& value, const Vector* sinks);
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec,
                const Inputs& inputs);
  Tensor Moe(const Tensor& x, const Routing& routing, const Experts& experts,
             const GatedMlpSpec& spec);
  Tensor GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec);
  Tensor AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate);
  void TraceMoe(const Inputs& inputs, int layer, const Tensor& x, const Routing& routing,
                const Tensor& y) const;
  void TraceHidden(const Inputs& inputs, int layer, const Tensor& hidden) const {
    if (inputs.finite != nullptr) inputs.finite->Record(layer, hidden.values());
  }

  // Positions 0 to n - 1 of the sequence with these blocks: keys and values [kv_heads, n, D].
  Status ReadKv(int layer, BlockTable blocks, int64_t n, std::span<float> keys,
                std::span<float> values) const;
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
  CpuOps(CpuRowOps rows, std::vector<KvCache> caches, BlockAttention attention,
         cpu::Linear exact_product, MoeBlock moe, cpu::GatedMlp mlp);
  void WriteKeysAndValues(const Inputs& inputs, const Tensor& key, const Tensor& value,
                          KvCache& cache);

  std::vector<KvCache> caches_;  // of the layers
  BlockAttention attention_;
  std::vector<int64_t> block_starts_;  // the step's rows that begin a block or a sequence, and T
  cpu::Linear exact_product_;          // in float32: the router
  MoeBlock moe_;
  cpu::GatedMlp mlp_;
  bool is_repeated_ = false;  // the step is not counted
  int layer_ = 0;             // that ops belong to
  NspStatistics statistics_;
  StageClock stage_clock_;
};

}  // namespace expertile::cpu
