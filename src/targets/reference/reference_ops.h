// The reference target: Ops in plain C++, float32 values with float64 sums. It is the truth for
// every other target. Not fast, and not meant to be: it is written to be read beside the formulas.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/worker_pool.h"
#include "dispatch/chunk_plan.h"
#include "dispatch/matched_index.h"
#include "dispatch/placement.h"
#include "formats/matrix_view.h"
#include "model/ops.h"
#include "targets/reference/kv_cache.h"
#include "targets/reference/tensor.h"
#include "targets/target.h"

namespace expertile::reference {

class ReferenceOps {
 public:
  using Tensor = reference::Tensor;
  using Linear = reference::Linear;
  using Vector = reference::Vector;
  using Embedding = MatrixView;
  using Experts = reference::Experts;
  using Routing = reference::Routing;
  using Rotation = reference::Rotation;

  struct Context {
    TargetOptions options;
    std::shared_ptr<WorkerPool> pool;
    std::optional<Placement> placement;  // none when blocking is off
  };

  static Result<ReferenceOps> Create(const DecoderSpec& spec, const Context& context);
  static std::string_view IsaOf(const Context&) { return "portable"; }

  void Begin(const Step& step) { step_ = &step; }
  Tensor Embed(const Embedding& table) const;
  Rotation RotationOf(const RopeSpec& rope) const;
  Tensor Scale(Tensor x, float scale) const;
  Tensor AddScaled(Tensor x, const Tensor& y, float scale) const;
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon) const;
  Tensor Multiply(const Tensor& x, const Linear& linear) const;
  Tensor Rotate(Tensor x, const Rotation& rotation) const;
  Tensor Attention(const AttentionArgs& args, const Tensor& query, const Tensor& key,
                   const Tensor& value, const Vector* sinks);
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec) const;
  Tensor Moe(const Tensor& x, const Routing& routing, const Experts& experts,
             const GatedMlpSpec& spec);
  Tensor GatedMlp(const Tensor& x, const Experts& experts, const GatedMlpSpec& spec) const;
  Tensor Rows(const Tensor& x, std::span<const int32_t> rows) const;

  Tensor FromHost(std::span<const float> values, int64_t width) const {
    return {static_cast<int64_t>(values.size()) / width, width, {values.begin(), values.end()}};
  }
  std::span<const float> Values(const Tensor& x) const { return x.values; }
  std::span<const int32_t> Ids(const Routing& routing) const { return routing.ids; }
  std::span<const float> Weights(const Routing& routing) const { return routing.weights; }
  const NspStatistics& nsp_statistics() const { return statistics_; }

 private:
  ReferenceOps(const Context& context, KvCache<float> cache)
      : context_(context), cache_(std::move(cache)) {}

  // One NSP's share of a layer: its chunks one after another, gathered, run and scattered to
  // `outputs` [T K, H].
  void RunNsp(const Tensor& x, const Experts& experts, const GatedMlpSpec& spec, int nsp,
              Tensor& outputs) const;

  WorkerPool& pool() const { return *context_.pool; }

  Context context_;
  KvCache<float> cache_;
  const Step* step_ = nullptr;
  MatchedIndex matched_;
  ChunkPlan plan_;
  NspStatistics statistics_;
};

}  // namespace expertile::reference
