// The CUDA target's matrix product of many rows and MXFP4 weights. What the host knows of it.
// Not for few rows: LaunchGemm (gemm.h) chooses.
#pragma once

#include "targets/cuda/kernels/gemm.h"

namespace expertile::cuda {

// As LaunchGemm: each RowTile has at most shape.rows rows.
cudaError_t LaunchMxfp4(const GemmArgs& args, TileShape shape, Epilogue epilogue,
                        int num_processors, cudaStream_t stream);

}  // namespace expertile::cuda
