// The CUDA target's matrix product of few rows, as decode has them. What the host knows of it.
// Not for many rows: LaunchGemm (gemm.h) chooses.
#pragma once

#include "targets/cuda/kernels/gemm.h"

namespace expertile::cuda {

// As LaunchGemm with kFewRowsTile: each RowTile has at most that many rows.
cudaError_t LaunchFewRows(const GemmArgs& args, Epilogue epilogue, int num_processors,
                          cudaStream_t stream);

}  // namespace expertile::cuda
