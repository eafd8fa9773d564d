// The CPU target's decoder: Ops on packed weights and tile kernels, all workers on every op.
// Not the kernels (targets/cpu/kernel_table.h), nor the MoE block's schedule (targets/cpu/moe.h).
#pragma once

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

  void Begin(const Step& step) { step_ = &step; }
  void BeginLayer(int) {}
  void EndLayer() {}
  Tensor Embed(const Embedding& table);
  Tensor ReplaceRows(Tensor x, std::span<const int32_t> rows, const Tensor& y);
  Tensor AddToRows(Tensor x, std::span<const int32_t> rows, const Tensor& y);
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon);
  Tensor Attention(const AttentionArgs& args, const Tensor& query, const Tensor& key,
                   const Tensor& value, const Vector* sinks);
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec);
  Tensor Moe(const Tensor& x, const Routing& routing, const Experts& experts,
             const GatedMlpSpec& spec);
  Tensor GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec);
  Tensor AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate);
  void ReadKv(const KvSlot& slot, std::span<float> key, std::span<float> value) const {
    cache_.Read(slot.layer, slot.sequence, slot.head, slot.position, key, value);
  }
  void WriteKv(const KvSlot& slot, std::span<const float> key, std::span<const float> value) {
    cache_.Write(slot.layer, slot.sequence, slot.head, slot.position, key, value);
  }

  std::span<const int32_t> Ids(const Routing& routing) const { return routing.ids; }
  std::span<const float> Weights(const Routing& routing) const { return routing.weights; }
  const NspStatistics& nsp_statistics() const { return statistics_; }

 private:
  CpuOps(CpuRowOps rows, KvCache cache, BlockAttention attention, cpu::Linear exact_product,
         MoeBlock moe, cpu::GatedMlp mlp);

  KvCache cache_;
  BlockAttention attention_;
  cpu::Linear exact_product_;  // in float32: the router
  MoeBlock moe_;
  cpu::GatedMlp mlp_;
  const Step* step_ = nullptr;
  NspStatistics statistics_;
};

}  // namespace expertile::cpu
