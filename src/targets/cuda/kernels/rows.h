// The CUDA target's kernels on rows that are independent of each other: norms, sums, tables,
// copies. Not products (gemm.h), attention (attention.h) or routing (routing.h).
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace expertile::cuda {

// Rows as products take them, [T, 2 padded]: values rounded to bfloat16, zeros up to `padded` (a
// multiple of kTileDepth), then what rounding took, likewise rounded and padded: the sum of both is
// the value to 2^-17. Most products read the first half alone.
struct SplitRows {
  __nv_bfloat16* data = nullptr;
  int64_t num_rows = 0;
  int64_t width = 0;
  int64_t padded = 0;
};

// Rows of floats are [T, width], each padded to a multiple of 8.

// What is yet to be added to rows: scale times rows of floats, or times the sum over k, in order,
// of weights[t,k] * experts[t K + k]. Nothing if both are null.
struct Addend {
  const float* rows = nullptr;             // [T, width]
  const __nv_bfloat16* experts = nullptr;  // [T K, experts_stride]
  const float* weights = nullptr;          // [T,K]
  int experts_per_token = 0;               // K
  int64_t experts_stride = 0;              // a multiple of 8
  float scale = 1.0f;
};

// x += addend, then y = x * rsqrt(mean(x^2) + epsilon) * weight; x is [num_rows, width].
cudaError_t LaunchRmsNorm(float* x, const Addend& addend, const float* weight, float epsilon,
                          const SplitRows& y, cudaStream_t stream);
// x += addend; with `replaces` x = addend.
cudaError_t LaunchAdd(float* x, const Addend& addend, bool replaces, int64_t num_rows,
                      int64_t width, cudaStream_t stream);
cudaError_t LaunchSplit(const float* x, const SplitRows& y, cudaStream_t stream);
cudaError_t LaunchJoin(const SplitRows& x, float* y, cudaStream_t stream);

// table[ids[t]] as floats; the table is float32, bfloat16 or float16.
cudaError_t LaunchEmbed(const std::byte* table, DType dtype, const int32_t* ids, int64_t num_rows,
                        int64_t width, float* y, cudaStream_t stream);
// [T, half]: cos and sin of positions [A,T] * inv_freq, each times `scale`.
cudaError_t LaunchRotation(const int32_t* positions, const int32_t* axes, const float* inv_freq,
                           int64_t num_rows, int half, float scale, float* cos, float* sin,
                           cudaStream_t stream);
cudaError_t LaunchScale(float* x, float scale, int64_t count, cudaStream_t stream);
// x[t] += y[t] * sigmoid(logits[t stride]).
cudaError_t LaunchAddGated(float* x, const float* y, const float* logits, int64_t stride,
                           int64_t num_rows, int64_t width, cudaStream_t stream);
// y[i] = x[rows[i]].
cudaError_t LaunchGatherRows(const float* x, const int32_t* rows, int64_t num_rows, int64_t width,
                             float* y, cudaStream_t stream);
// x[rows[i]] = y[i], or += if `adds`; rows are distinct.
cudaError_t LaunchPlaceRows(float* x, const int32_t* rows, const float* y, int64_t num_rows,
                            int64_t width, bool adds, cudaStream_t stream);

}  // namespace expertile::cuda
