// The CUDA target's row: prefill and decode on a Hopper GPU. In a build without nvcc the row is
// there, and says so when it is asked to run (cuda_absent.cc).
// Not the computation: cuda_ops.h.
#pragma once

#include "targets/target_row.h"

namespace expertile::cuda {

TargetRow CudaTarget();

}  // namespace expertile::cuda
