// One block for each row, or a grid over elements.
#include <cuda_fp16.h>

#include <type_traits>

#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/rows.h"

namespace expertile::cuda {
namespace {

constexpr int kThreads = 256;

// Rows of floats lie at multiples of 8 elements.
__host__ __device__ int64_t Stride(int64_t width) { return (width + 7) / 8 * 8; }

unsigned BlocksFor(int64_t count) {
  return static_cast<unsigned>((count + kThreads - 1) / kThreads);
}

// The sum over a block's threads, the same for all, in one order.
template <int kBlockThreads>
__device__ float BlockSum(float x) {
  __shared__ float sums[kBlockThreads / 32];
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffff, x, offset);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kBlockThreads / 32; ++i) total += sums[i];
  return total;
}

__device__ inline uint32_t PairBits(__nv_bfloat16 low, __nv_bfloat16 high) {
  return static_cast<uint32_t>(__bfloat16_as_ushort(low)) |
         static_cast<uint32_t>(__bfloat16_as_ushort(high)) << 16;
}

__device__ inline void StorePair(uint32_t* rounded, int64_t rest, float first, float second) {
  const __nv_bfloat16 a = __float2bfloat16_rn(first);
  const __nv_bfloat16 b = __float2bfloat16_rn(second);
  rounded[0] = PairBits(a, b);
  rounded[rest] = PairBits(__float2bfloat16_rn(first - __bfloat162float(a)),
                           __float2bfloat16_rn(second - __bfloat162float(b)));
}

// value(e) for the elements [i, i + 4) of a row, i + 4 <= y.padded; 0 past its end.
template <typename Value>
__device__ void StoreFour(const SplitRows& y, int64_t row, int64_t i, Value value) {
  float values[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) values[j] = i + j < y.width ? value(i + j) : 0.0f;
  auto* rounded = reinterpret_cast<uint32_t*>(y.data + row * 2 * y.padded + i);
  StorePair(rounded, y.padded / 2, values[0], values[1]);
  StorePair(rounded + 1, y.padded / 2, values[2], values[3]);
}

constexpr int kVector = 4;  // elements that a thread takes at once: rows are padded to 8

// Elements [i, i + kVector) of row `row` of an addend, unscaled.
__device__ float4 AddendAt(const Addend& addend, int64_t row, int64_t i, int64_t width) {
  if (addend.rows != nullptr) {
    return *reinterpret_cast<const float4*>(addend.rows + row * Stride(width) + i);
  }
  float4 sum = {};
  const int64_t first = row * addend.experts_per_token;
#pragma unroll 8
  for (int k = 0; k < addend.experts_per_token; ++k) {
    const float weight = addend.weights[first + k];
    const auto pairs =
        *reinterpret_cast<const uint2*>(addend.experts + (first + k) * addend.experts_stride + i);
    const float2 low = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&pairs.x));
    const float2 high = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&pairs.y));
    sum = {fmaf(weight, low.x, sum.x), fmaf(weight, low.y, sum.y), fmaf(weight, high.x, sum.z),
           fmaf(weight, high.y, sum.w)};
  }
  return sum;
}

__device__ float4 SumAt(const float* row, const Addend& addend, int64_t i, int64_t width) {
  float4 x = *reinterpret_cast<const float4*>(row + i);
  if (addend.rows == nullptr && addend.experts == nullptr) return x;
  const float4 y = AddendAt(addend, blockIdx.x, i, width);
  return {fmaf(y.x, addend.scale, x.x), fmaf(y.y, addend.scale, x.y), fmaf(y.z, addend.scale, x.z),
          fmaf(y.w, addend.scale, x.w)};
}

// A thread keeps its part of a row that is not too long, so that it is read once.
constexpr int kKept = 4;
constexpr int kNormThreads = 512;

// The norm's weights for elements [i, i + 4), zeros past the row's end; they may end anywhere.
__device__ float4 NormWeightsAt(const float* weight, int64_t i, int64_t width) {
  return {i < width ? weight[i] : 0.0f, i + 1 < width ? weight[i + 1] : 0.0f,
          i + 2 < width ? weight[i + 2] : 0.0f, i + 3 < width ? weight[i + 3] : 0.0f};
}

__global__ __launch_bounds__(kNormThreads) void RmsNormKernel(float* x, Addend addend,
                                                              const float* weight, float epsilon,
                                                              SplitRows y) {
  LetNextKernelBegin();
  const auto first = static_cast<int64_t>(kVector * threadIdx.x);
  const float4 first_weights = NormWeightsAt(weight, first, y.width);  // no kernel writes them
  WaitForEarlierKernels();
  float* row = x + blockIdx.x * Stride(y.width);
  const bool adds = addend.rows != nullptr || addend.experts != nullptr;
  float4 kept[kKept];
  float sum = 0.0f;
#pragma unroll
  for (int step = 0; step < kKept; ++step) {
    const int64_t i = first + static_cast<int64_t>(step) * kVector * kNormThreads;
    if (i >= y.width) break;
    kept[step] = SumAt(row, addend, i, y.width);
    if (adds) *reinterpret_cast<float4*>(row + i) = kept[step];
    const float* v = reinterpret_cast<const float*>(&kept[step]);
    for (int j = 0; j < kVector; ++j) sum = i + j < y.width ? fmaf(v[j], v[j], sum) : sum;
  }
  constexpr int64_t kRest = int64_t{kKept} * kVector * kNormThreads;
  for (int64_t i = first + kRest; i < y.width; i += kVector * kNormThreads) {
    const float4 z = SumAt(row, addend, i, y.width);
    if (adds) *reinterpret_cast<float4*>(row + i) = z;
    const float* v = reinterpret_cast<const float*>(&z);
    for (int j = 0; j < kVector; ++j) sum = i + j < y.width ? fmaf(v[j], v[j], sum) : sum;
  }
  const float inverse = rsqrtf(BlockSum<kNormThreads>(sum) / static_cast<float>(y.width) + epsilon);
#pragma unroll
  for (int step = 0; step < kKept; ++step) {
    const int64_t i = first + static_cast<int64_t>(step) * kVector * kNormThreads;
    if (i >= y.padded) break;
    const float4 weights = step == 0 ? first_weights : NormWeightsAt(weight, i, y.width);
    const float* w = reinterpret_cast<const float*>(&weights);
    const float* v = reinterpret_cast<const float*>(&kept[step]);
    StoreFour(y, blockIdx.x, i, [&](int64_t e) { return v[e - i] * inverse * w[e - i]; });
  }
  for (int64_t i = first + kRest; i < y.padded; i += kVector * kNormThreads) {
    StoreFour(y, blockIdx.x, i, [&](int64_t e) { return row[e] * inverse * weight[e]; });
  }
}

__global__ void AddKernel(float* x, Addend addend, bool replaces, int64_t width) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  float* row = x + blockIdx.x * Stride(width);
  for (int64_t i = kVector * threadIdx.x; i < width; i += kVector * kThreads) {
    *reinterpret_cast<float4*>(row + i) =
        replaces ? AddendAt(addend, blockIdx.x, i, width) : SumAt(row, addend, i, width);
  }
}

__global__ void SplitKernel(const float* x, SplitRows y) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const float* row = x + blockIdx.x * Stride(y.width);
  for (int64_t i = kVector * threadIdx.x; i < y.padded; i += kVector * kThreads) {
    StoreFour(y, blockIdx.x, i, [&](int64_t e) { return row[e]; });
  }
}

__global__ void JoinKernel(SplitRows x, float* y) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const __nv_bfloat16* row = x.data + blockIdx.x * 2 * x.padded;
  for (int64_t i = threadIdx.x; i < x.width; i += kThreads) {
    const float rounded = __bfloat162float(row[i]);
    const float rest = __bfloat162float(row[x.padded + i]);
    y[blockIdx.x * Stride(x.width) + i] = isfinite(rounded) ? rounded + rest : rounded;
  }
}

template <typename T>
__global__ void EmbedKernel(const T* table, const int32_t* ids, int64_t width, float* y) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const T* row = table + ids[blockIdx.x] * width;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) {
    y[blockIdx.x * Stride(width) + i] = static_cast<float>(row[i]);
  }
}

__global__ void RotationKernel(const int32_t* positions, const int32_t* axes, const float* inv_freq,
                               int64_t num_rows, int half, float scale, float* cosines,
                               float* sines) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= num_rows * half) return;
  const int64_t j = i % half;
  const int axis = axes == nullptr ? 0 : axes[j];
  const auto position = static_cast<float>(positions[axis * num_rows + i / half]);
  const float angle = position * inv_freq[j];
  cosines[i] = cosf(angle) * scale;
  sines[i] = sinf(angle) * scale;
}

__global__ void ScaleKernel(float* x, float scale, int64_t count) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) x[i] *= scale;
}

__global__ void AddGatedKernel(float* x, const float* y, const float* logits, int64_t stride,
                               int64_t width) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const float weight = 1.0f / (1.0f + expf(-logits[blockIdx.x * stride]));
  for (int64_t i = threadIdx.x; i < width; i += kThreads) {
    x[blockIdx.x * Stride(width) + i] += y[blockIdx.x * Stride(width) + i] * weight;
  }
}

__global__ void GatherRowsKernel(const float* x, const int32_t* rows, int64_t width, float* y) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const float* row = x + rows[blockIdx.x] * Stride(width);
  float* copy = y + blockIdx.x * Stride(width);
  for (int64_t i = threadIdx.x; i < width; i += kThreads) copy[i] = row[i];
}

__global__ void PlaceRowsKernel(float* x, const int32_t* rows, const float* y, int64_t width,
                                bool adds) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  float* row = x + rows[blockIdx.x] * Stride(width);
  for (int64_t i = threadIdx.x; i < width; i += kThreads) {
    const float value = y[blockIdx.x * Stride(width) + i];
    row[i] = adds ? row[i] + value : value;
  }
}

}  // namespace

cudaError_t LaunchRmsNorm(float* x, const Addend& addend, const float* weight, float epsilon,
                          const SplitRows& y, cudaStream_t stream) {
  if (y.num_rows == 0) return cudaSuccess;
  return LaunchChained(RmsNormKernel, y.num_rows, kNormThreads, 0, stream, x, addend, weight,
                       epsilon, y);
}

cudaError_t LaunchAdd(float* x, const Addend& addend, bool replaces, int64_t num_rows,
                      int64_t width, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  return LaunchChained(AddKernel, num_rows, kThreads, 0, stream, x, addend, replaces, width);
}

cudaError_t LaunchSplit(const float* x, const SplitRows& y, cudaStream_t stream) {
  if (y.num_rows == 0) return cudaSuccess;
  return LaunchChained(SplitKernel, y.num_rows, kThreads, 0, stream, x, y);
}

cudaError_t LaunchJoin(const SplitRows& x, float* y, cudaStream_t stream) {
  if (x.num_rows == 0) return cudaSuccess;
  return LaunchChained(JoinKernel, x.num_rows, kThreads, 0, stream, x, y);
}

cudaError_t LaunchEmbed(const std::byte* table, DType dtype, const int32_t* ids, int64_t num_rows,
                        int64_t width, float* y, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  const auto launch = [&](const auto* typed) {
    return LaunchChained(EmbedKernel<std::remove_cvref_t<decltype(*typed)>>, num_rows, kThreads, 0,
                         stream, typed, ids, width, y);
  };
  if (dtype == DType::kF32) return launch(reinterpret_cast<const float*>(table));
  if (dtype == DType::kBF16) return launch(reinterpret_cast<const __nv_bfloat16*>(table));
  return launch(reinterpret_cast<const __half*>(table));
}

cudaError_t LaunchRotation(const int32_t* positions, const int32_t* axes, const float* inv_freq,
                           int64_t num_rows, int half, float scale, float* cos, float* sin,
                           cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  return LaunchChained(RotationKernel, BlocksFor(num_rows * half), kThreads, 0, stream, positions,
                       axes, inv_freq, num_rows, half, scale, cos, sin);
}

cudaError_t LaunchScale(float* x, float scale, int64_t count, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return LaunchChained(ScaleKernel, BlocksFor(count), kThreads, 0, stream, x, scale, count);
}

cudaError_t LaunchAddGated(float* x, const float* y, const float* logits, int64_t stride,
                           int64_t num_rows, int64_t width, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  return LaunchChained(AddGatedKernel, num_rows, kThreads, 0, stream, x, y, logits, stride, width);
}

cudaError_t LaunchGatherRows(const float* x, const int32_t* rows, int64_t num_rows, int64_t width,
                             float* y, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  return LaunchChained(GatherRowsKernel, num_rows, kThreads, 0, stream, x, rows, width, y);
}

cudaError_t LaunchPlaceRows(float* x, const int32_t* rows, const float* y, int64_t num_rows,
                            int64_t width, bool adds, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  return LaunchChained(PlaceRowsKernel, num_rows, kThreads, 0, stream, x, rows, y, width, adds);
}

}  // namespace expertile::cuda
