#include <cuda_bf16.h>

#include "targets/cuda/kernels/barriers.cuh"
#include "targets/cuda/kernels/bench.h"
#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/wgmma.cuh"

namespace expertile::cuda {
namespace {

constexpr int kFillThreads = 256;
constexpr int kFillBlocks = 1024;

__device__ inline uint32_t Hash(uint64_t i) {
  auto h = static_cast<uint32_t>(i ^ i >> 32) * 2654435761u;
  h = (h ^ h >> 15) * 2246822519u;
  h = (h ^ h >> 13) * 3266489917u;
  return h ^ h >> 16;
}

__device__ inline float Uniform(uint64_t i, float size) {
  return (static_cast<float>(Hash(i) & 0xffffu) / 32768.0f - 1.0f) * size;
}

struct RoundedValue {
  float size;
  __device__ __nv_bfloat16 operator()(int64_t i) const {
    return __float2bfloat16_rn(Uniform(i, size));
  }
};
struct FloatValue {
  float middle;
  float size;
  __device__ float operator()(int64_t i) const { return middle + Uniform(i, size); }
};
struct ByteValue {
  __device__ uint8_t operator()(int64_t i) const { return static_cast<uint8_t>(Hash(i)); }
};
struct ScaleValue {
  __device__ uint8_t operator()(int64_t i) const { return static_cast<uint8_t>(118 + Hash(i) % 4); }
};

template <typename T, typename Value>
__global__ void FillKernel(T* data, int64_t count, Value value) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    data[i] = value(i);
  }
}

constexpr int kRoofThreads = 256;
constexpr int kRoofBytes = (128 + 256) * 128;

// Two warpgroups, each with 64 of 128 rows; what they multiply does not matter, but is not zero.
__global__ __launch_bounds__(kRoofThreads, 1) void MultiplyRoofKernel(int steps, float* out) {
  extern __shared__ std::byte shared[];
  const uint32_t base = (SharedAddress(shared) + 1023) / 1024 * 1024;
  auto* words = reinterpret_cast<__nv_bfloat162*>(shared + (base - SharedAddress(shared)));
  for (int i = static_cast<int>(threadIdx.x); i < kRoofBytes / 4; i += kRoofThreads) {
    words[i] = __floats2bfloat162_rn(Uniform(2 * i, 1.0f), Uniform(2 * i + 1, 1.0f));
  }
  FenceAsyncProxy();
  __syncthreads();
  const uint64_t a = SwizzledMatrix(base + threadIdx.x / 128 * 64 * 128);
  const uint64_t b = SwizzledMatrix(base + 128 * 128);
  float sums[128];
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    BeginProducts();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      Multiply<256>(sums, Advanced(a, k * 32), Advanced(b, k * 32), step > 0 || k > 0);
    CommitProducts();
    WaitForProducts<1>();
  }
  WaitForProducts<0>();
  PinSums(sums);
  float sum = 0.0f;
#pragma unroll
  for (const float part : sums) sum += part;
  if (sum == 0.5f) *out = sum;  // so that the sums are needed
}

}  // namespace

cudaError_t LaunchFill(Fill fill, void* data, int64_t num_bytes, float size, cudaStream_t stream) {
  const auto launch = [&](auto* typed, auto value) {
    FillKernel<<<kFillBlocks, kFillThreads, 0, stream>>>(
        typed, num_bytes / static_cast<int64_t>(sizeof(*typed)), value);
  };
  switch (fill) {
    case Fill::kBFloat16:
      launch(static_cast<__nv_bfloat16*>(data), RoundedValue{size});
      break;
    case Fill::kFloat32:
      launch(static_cast<float*>(data), FloatValue{0.0f, size});
      break;
    case Fill::kNearOne:
      launch(static_cast<float*>(data), FloatValue{1.0f, size});
      break;
    case Fill::kBytes:
      launch(static_cast<uint8_t*>(data), ByteValue{});
      break;
    case Fill::kE8m0:
      launch(static_cast<uint8_t*>(data), ScaleValue{});
      break;
  }
  return cudaGetLastError();
}

cudaError_t LaunchMultiplyRoof(int num_processors, int steps, double* flops, cudaStream_t stream) {
  constexpr int kBytes = kRoofBytes + 1024;
  const cudaError_t allowed = AllowSharedBytes<MultiplyRoofKernel, kBytes>();
  if (allowed != cudaSuccess) return allowed;
  MultiplyRoofKernel<<<num_processors, kRoofThreads, kBytes, stream>>>(steps, nullptr);
  *flops = 2.0 * 128 * 256 * 64 * steps * num_processors;
  return cudaGetLastError();
}

}  // namespace expertile::cuda
