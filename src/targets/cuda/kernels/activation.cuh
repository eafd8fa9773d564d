// The activation of experts in a product's epilogue, the same for every way to multiply.
// Not how its results are stored: gemm_epilogue.cuh, gemm_mxfp4.cu and gemm_few_rows.cu.
#pragma once

#include "targets/cuda/kernels/gemm.h"

namespace expertile::cuda {

// Whether what is stored are rows in tiles (gemm.h): of an activation.
template <Epilogue kEpilogue>
inline constexpr bool kStoresTiles = kEpilogue == Epilogue::kSilu || kEpilogue == Epilogue::kSwiGlu;

template <Epilogue kEpilogue>
__device__ inline float Activate(const GemmArgs& args, float gate, float up) {
  if constexpr (kEpilogue == Epilogue::kSilu) {
    return __fdividef(gate, 1.0f + __expf(-gate)) * up;
  } else {
    const float g = gate < args.limit || isnan(gate) ? gate : args.limit;
    const float u = up < -args.limit ? -args.limit : (up > args.limit ? args.limit : up);
    return __fdividef((u + 1.0f) * g, 1.0f + __expf(-args.alpha * g));
  }
}

}  // namespace expertile::cuda
