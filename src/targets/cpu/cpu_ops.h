// The CPU target: Ops on packed weights and tile kernels, all workers on every op.
// Not the kernels (targets/cpu/kernel_table.h), nor the MoE block's schedule (targets/cpu/moe.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/worker_pool.h"
#include "formats/matrix_view.h"
#include "model/ops.h"
#include "targets/cpu/attention.h"
#include "targets/cpu/kv_cache.h"
#include "targets/cpu/linear.h"
#include "targets/cpu/moe.h"
#include "targets/cpu/packed_weights.h"
#include "targets/cpu/tensor.h"
#include "targets/target.h"

namespace expertile::cpu {

class CpuOps {
 public:
  using Tensor = cpu::Tensor;
  using Linear = PackedMatrix;
  using Vector = std::vector<float>;
  using Embedding = MatrixView;
  using Experts = PackedExperts;

  struct Routing {
    int experts_per_token = 0;   // K
    std::vector<int32_t> ids;    // [T,K]
    std::vector<float> weights;  // [T,K]
  };
  struct Rotation {
    Tensor cos;  // [T, D/2]
    Tensor sin;  // [T, D/2]
  };
  struct Context {
    TargetOptions options;
    std::shared_ptr<WorkerPool> pool;
    const KernelTable* table;
  };

  static Result<CpuOps> Create(const DecoderSpec& spec, const Context& context);
  static std::string_view IsaOf(const Context& context) { return context.table->name; }

  void Begin(const Step& step) { step_ = &step; }
  Tensor Embed(const Embedding& table);
  Rotation RotationOf(const RopeSpec& rope);
  Tensor Scale(Tensor x, float scale);
  Tensor AddScaled(Tensor x, const Tensor& y, float scale);
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon);
  Tensor Multiply(const Tensor& x, const Linear& linear);
  Tensor Rotate(Tensor x, const Rotation& rotation);
  Tensor Attention(const AttentionArgs& args, const Tensor& query, const Tensor& key,
                   const Tensor& value, const Vector* sinks);
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec);
  Tensor Moe(const Tensor& x, const Routing& routing, const Experts& experts,
             const GatedMlpSpec& spec);
  Tensor GatedMlp(const Tensor& x, const Experts& experts, const GatedMlpSpec& spec);
  Tensor Rows(const Tensor& x, std::span<const int32_t> rows);

  Tensor FromHost(std::span<const float> values, int64_t width);
  std::span<const float> Values(const Tensor& x) const { return x.values(); }
  std::span<const int32_t> Ids(const Routing& routing) const { return routing.ids; }
  std::span<const float> Weights(const Routing& routing) const { return routing.weights; }
  const NspStatistics& nsp_statistics() const { return statistics_; }

 private:
  CpuOps(const Context& context, KvCache cache, BlockAttention attention, cpu::Linear product,
         cpu::Linear exact_product, MoeBlock moe, std::optional<MoeBlock> mlp);

  Tensor NewTensor(int64_t rows, int64_t width) { return Tensor(buffers_, rows, width); }
  // Runs task(row) for every row, in blocks, on all workers.
  void ForRows(int64_t num_rows, FunctionRef<void(int64_t row)> task);

  Context context_;
  std::shared_ptr<BufferPool> buffers_;
  KvCache cache_;
  BlockAttention attention_;
  cpu::Linear product_;        // in the options' arithmetic
  cpu::Linear exact_product_;  // in float32: the router
  MoeBlock moe_;
  std::optional<MoeBlock> mlp_;  // dense layers, if there are any
  const Step* step_ = nullptr;
  NspStatistics statistics_;
};

}  // namespace expertile::cpu
