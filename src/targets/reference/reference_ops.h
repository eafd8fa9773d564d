// The reference target: Ops in plain C++, float32 values with float64 sums. It is the truth for
// every other target. Not fast, and not meant to be: it is written to be read beside the formulas.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "dispatch/chunk_plan.h"
#include "dispatch/matched_index.h"
#include "targets/reference/kv_cache.h"
#include "targets/reference/row_ops.h"
#include "targets/reference/vision_ops.h"

namespace expertile::reference {

class ReferenceOps : public ReferenceRowOps {
 public:
  using Mlp = reference::Mlp;
  using Experts = reference::Experts;
  using Routing = reference::Routing;
  using Vision = ReferenceVisionOps;

  static Result<ReferenceOps> Create(const DecoderSpec& spec, const Context& context);
  static std::string_view IsaOf(const Context&) { return "portable"; }

  void Begin(const Step& step) { step_ = &step; }
  void BeginLayer(int) {}
  void EndLayer() {}
  Tensor Embed(const Embedding& table) const;
  Tensor ReplaceRows(Tensor x, std::span<const int32_t> rows, const Tensor& y) const;
  Tensor AddToRows(Tensor x, std::span<const int32_t> rows, const Tensor& y) const;
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon) const;
  Tensor Attention(const AttentionArgs& args, const Tensor& query, const Tensor& key,
                   const Tensor& value, const Vector* sinks);
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec) const;
  Tensor Moe(const Tensor& x, const Routing& routing, const Experts& experts,
             const GatedMlpSpec& spec);
  Tensor GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec) const;
  Tensor AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate) const;
  void ReadKv(const KvSlot& slot, std::span<float> key, std::span<float> value) const;
  void WriteKv(const KvSlot& slot, std::span<const float> key, std::span<const float> value);

  std::span<const int32_t> Ids(const Routing& routing) const { return routing.ids; }
  std::span<const float> Weights(const Routing& routing) const { return routing.weights; }
  const NspStatistics& nsp_statistics() const { return statistics_; }

 private:
  ReferenceOps(const Context& context, KvCache<float> cache)
      : ReferenceRowOps(context),
        cache_(std::move(cache)),
        codec_(context.options.kv_format, cache_.shape().head_dim) {}

  // One NSP's share of a layer: its chunks one after another, gathered, run and scattered to
  // `outputs` [T K, H].
  void RunNsp(const Tensor& x, const Experts& experts, const GatedMlpSpec& spec, int nsp,
              Tensor& outputs) const;

  KvCache<float> cache_;  // of values that codec_'s format has
  KvCodec codec_;
  const Step* step_ = nullptr;
  MatchedIndex matched_;
  ChunkPlan plan_;
  NspStatistics statistics_;
};

}  // namespace expertile::reference
