// The CPU target's ops on rows, which its decoder and its vision tower share; all workers on every
// op. Not what belongs to one of the two: cpu_ops.h, vision_ops.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/worker_pool.h"
#include "dispatch/placement.h"
#include "formats/matrix_view.h"
#include "model/ops.h"
#include "targets/cpu/linear.h"
#include "targets/cpu/packed_weights.h"
#include "targets/cpu/tensor.h"
#include "targets/target.h"

namespace expertile::cpu {

inline ComputeType ComputeTypeOf(const TargetOptions& options) {
  return options.is_rounded() ? ComputeType::kBFloat16 : ComputeType::kFloat32;
}

class CpuRowOps {
 public:
  using Tensor = cpu::Tensor;
  using Linear = PackedMatrix;
  using Vector = std::vector<float>;
  using Embedding = MatrixView;

  struct Rotation {
    Tensor cos;  // [T, D/2]
    Tensor sin;  // [T, D/2]
  };
  struct Context {
    TargetOptions options;
    std::shared_ptr<WorkerPool> pool;
    const KernelTable* table;
    std::optional<Placement> placement;  // none when blocking is off
  };

  // For products of at most `max_rows` rows of at most `max_in` values. Errors: out of memory.
  static Result<CpuRowOps> Create(const Context& context, int64_t max_rows, int64_t max_in) {
    EXPERTILE_ASSIGN(cpu::Linear product,
                     cpu::Linear::Create(*context.table, ComputeTypeOf(context.options), max_rows,
                                         max_in, context.pool->size()));
    return CpuRowOps(context, std::move(product));
  }

  Rotation RotationOf(const RopeSpec& rope, std::span<const int32_t> positions);
  Tensor Scale(Tensor x, float scale);
  Tensor AddScaled(Tensor x, const Tensor& y, float scale);
  Tensor Multiply(const Tensor& x, const Linear& linear);
  Tensor Rotate(Tensor x, const Rotation& rotation);
  Tensor FromHost(std::span<const float> values, int64_t width);
  // The values of x, or the first failure of an op since the last Fetch. An op that fails gives
  // zeros.
  Status Fetch(const Tensor& x, std::span<float> values);

 protected:
  CpuRowOps(const Context& context, cpu::Linear product)
      : context_(context), buffers_(std::make_shared<BufferPool>()), product_(std::move(product)) {}

  Tensor NewTensor(int64_t rows, int64_t width) { return Tensor(buffers_, rows, width); }
  // `y`, which an op with this outcome has filled; zeros if it failed.
  Tensor Finished(Status outcome, Tensor y);
  // Runs task(row) for every row, in blocks, on all workers.
  void ForRows(int64_t num_rows, FunctionRef<void(int64_t row)> task);

  Context context_;
  std::shared_ptr<BufferPool> buffers_;
  cpu::Linear product_;  // in the options' arithmetic
  Status failure_;       // of the step
};

}  // namespace expertile::cpu
