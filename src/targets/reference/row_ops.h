// The reference target's ops on rows, which its decoder and its vision tower share.
// Not what belongs to one of the two: reference_ops.h, vision_ops.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/worker_pool.h"
#include "dispatch/placement.h"
#include "formats/matrix_view.h"
#include "model/ops.h"
#include "targets/reference/tensor.h"
#include "targets/target.h"

namespace expertile::reference {

class ReferenceRowOps {
 public:
  using Tensor = reference::Tensor;
  using Linear = reference::Linear;
  using Vector = reference::Vector;
  using Embedding = MatrixView;
  using Rotation = reference::Rotation;

  struct Context {
    TargetOptions options;
    std::shared_ptr<WorkerPool> pool;
    std::optional<Placement> placement;  // none when blocking is off
  };

  explicit ReferenceRowOps(Context context) : context_(std::move(context)) {}

  Rotation RotationOf(const RopeSpec& rope, std::span<const int32_t> positions) const;
  Tensor Scale(Tensor x, float scale) const;
  Tensor AddScaled(Tensor x, const Tensor& y, float scale) const;
  Tensor Multiply(const Tensor& x, const Linear& linear) const;
  Tensor Rotate(Tensor x, const Rotation& rotation) const;
  Tensor Rows(const Tensor& x, std::span<const int32_t> rows) const;
  Tensor FromHost(std::span<const float> values, int64_t width) const {
    return {static_cast<int64_t>(values.size()) / width, width, {values.begin(), values.end()}};
  }
  std::span<const float> Values(const Tensor& x) const { return x.values; }
  Status EndStep() const { return {}; }  // no op fails

 protected:
  WorkerPool& pool() const { return *context_.pool; }

  Context context_;
};

}  // namespace expertile::reference
