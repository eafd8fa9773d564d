// Routing on the device: a warp chooses a token's experts; blocks of tokens are counted, one
// block makes the plan, blocks of tokens write the index. No atomics order anything: the index
// is in token order.
#include <cfloat>

#include "targets/cuda/launch.cuh"
#include "targets/cuda/routing.h"

namespace expertile::cuda {
namespace {

constexpr int kRouteThreads = 256;
constexpr int kPlanThreads = 1024;
constexpr int kMaxPlaces = 2 * kMaxExperts;  // slots of all NSPs
constexpr unsigned kAllLanes = 0xffffffff;

// ---- The choice

// A key whose order is that of RanksBefore (targets/router.cc): numbers by size, NaN below all,
// equals by lower index; 0 is below all keys.
__device__ inline unsigned long long RankKey(float value, int index) {
  uint32_t bits = __float_as_uint(value + 0.0f);  // -0 equals 0
  bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  if (isnan(value)) bits = 0;
  return static_cast<unsigned long long>(bits) << 32 | (0xffffffffu - static_cast<uint32_t>(index));
}

__device__ inline unsigned long long WarpMax(unsigned long long x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    x = max(x, __shfl_xor_sync(kAllLanes, x, offset));
  }
  return x;
}

__device__ inline float WarpMax(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  }
  return x;
}

__device__ inline float WarpSum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

// softmax of values [count] in place by one warp; count may be 0 for lanes' own strides.
__device__ void Softmax(float* values, int count, int lane) {
  float largest = -INFINITY;
  for (int i = lane; i < count; i += 32) largest = fmaxf(largest, values[i]);
  largest = WarpMax(largest);
  float sum = 0.0f;
  for (int i = lane; i < count; i += 32) {
    values[i] = expf(values[i] - largest);
    sum += values[i];
  }
  sum = WarpSum(sum);
  for (int i = lane; i < count; i += 32) values[i] /= sum;
  __syncwarp();
}

// No NaN, no +inf, and not -inf alone.
__device__ bool HasSoftmax(const float* logits, int count, int lane) {
  bool has_nan = false;
  float largest = -INFINITY;
  for (int i = lane; i < count; i += 32) {
    has_nan = has_nan || isnan(logits[i]);
    largest = fmaxf(largest, logits[i]);
  }
  return !__any_sync(kAllLanes, has_nan) && isfinite(WarpMax(largest));
}

// The K first of the ranking: each pass takes the first of those after the last one taken.
__device__ void TakeTopK(const float* values, const RouteArgs& args, int lane, int32_t* ids,
                         float* weights) {
  unsigned long long last = ~0ull;
  for (int k = 0; k < args.experts_per_token; ++k) {
    unsigned long long best = 0;
    for (int i = lane; i < args.num_experts; i += 32) {
      const unsigned long long key = RankKey(values[i], i);
      if (key < last) best = max(best, key);
    }
    last = WarpMax(best);
    if (lane != 0) continue;
    ids[k] = static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(last));
    weights[k] = values[ids[k]];
  }
  __syncwarp();
}

__global__ void RouteKernel(const RouteArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  extern __shared__ float rows[];  // [warps, E]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * (kRouteThreads / 32) + warp;
  if (token >= args.num_tokens) return;
  const int E = args.num_experts;
  const int K = args.experts_per_token;
  float* values = rows + warp * E;
  for (int i = lane; i < E; i += 32) values[i] = args.logits[token * args.logits_stride + i];
  __syncwarp();
  int32_t* ids = args.ids + token * K;
  float* weights = args.weights + token * K;
  if (!HasSoftmax(values, E, lane)) {
    TakeTopK(values, args, lane, ids, weights);
    for (int k = lane; k < K; k += 32) weights[k] = NAN;
    return;
  }
  if (args.score == RouterScore::kTopKThenSoftmax) {
    TakeTopK(values, args, lane, ids, weights);
    return Softmax(weights, K, lane);
  }
  Softmax(values, E, lane);
  TakeTopK(values, args, lane, ids, weights);
  if (!args.normalize) return;
  float sum = 0.0f;
  for (int k = 0; k < K; ++k) sum += weights[k];
  __syncwarp();
  for (int k = lane; k < K; k += 32) weights[k] /= sum;
}

// ---- The index and the plan

__device__ inline int NumRouteBlocks(const PlanArgs& args) {
  return static_cast<int>((args.num_tokens + kTokensPerRouteBlock - 1) / kTokensPerRouteBlock);
}

// The ids of a block's tokens to shared memory; their number.
__device__ int LoadIds(const PlanArgs& args, int32_t* ids) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTokensPerRouteBlock;
  const auto tokens =
      static_cast<int>(min(static_cast<int64_t>(kTokensPerRouteBlock), args.num_tokens - first));
  const int count = tokens * args.experts_per_token;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    ids[i] = args.ids[first * args.experts_per_token + i];
  }
  __syncthreads();
  return count;
}

__global__ void CountKernel(const PlanArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  extern __shared__ int32_t ids[];
  const int count = LoadIds(args, ids);
  for (int e = static_cast<int>(threadIdx.x); e < args.num_experts;
       e += static_cast<int>(blockDim.x)) {
    int matches = 0;
    for (int i = 0; i < count; ++i) matches += ids[i] == e ? 1 : 0;
    args.block_counts[e * gridDim.x + blockIdx.x] = matches;
  }
}

// values [kMaxPlaces] become their exclusive sums.
__device__ void ScanPlaces(int* values) {
  __shared__ int sums[kPlanThreads];
  const int t = static_cast<int>(threadIdx.x);
  __syncthreads();
  const int first = values[2 * t];
  const int second = values[2 * t + 1];
  int sum = first + second;
  for (int distance = 1; distance < kPlanThreads; distance *= 2) {
    sums[t] = sum;
    __syncthreads();
    if (t >= distance) sum += sums[t - distance];
    __syncthreads();
  }
  values[2 * t] = sum - first - second;
  values[2 * t + 1] = sum - second;
  __syncthreads();
}

// A warp for each expert: its counts of blocks become their exclusive sums.
__device__ void SumCounts(const PlanArgs& args, int* expert_counts) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int blocks = NumRouteBlocks(args);
  for (int e = static_cast<int>(threadIdx.x) / 32; e < args.num_experts; e += kPlanThreads / 32) {
    int total = 0;
    for (int first = 0; first < blocks; first += 32) {
      int32_t* place = &args.block_counts[static_cast<int64_t>(e) * blocks + first + lane];
      const int count = first + lane < blocks ? *place : 0;
      int sum = count;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const int before = __shfl_up_sync(kAllLanes, sum, offset);
        if (lane >= offset) sum += before;
      }
      if (first + lane < blocks) *place = total + sum - count;
      total += __shfl_sync(kAllLanes, sum, 31);
    }
    if (lane == 0) expert_counts[e] = total;
  }
}

// How an expert's rows are cut: chunks of at most P rows, each into tiles.
struct Cut {
  int count;
  int chunk;            // P
  int tiles_per_chunk;  // of a whole one
  int tile_rows;

  __device__ int NumTiles() const {
    return count / chunk * tiles_per_chunk + (count % chunk + tile_rows - 1) / tile_rows;
  }
  __device__ RowTile Tile(int expert, int first, int i) const {
    const int chunk_begin = i / tiles_per_chunk * chunk;
    const int begin = chunk_begin + i % tiles_per_chunk * tile_rows;
    const int end = min(min(begin + tile_rows, chunk_begin + chunk), count);
    return {expert, first + begin, first + end, 0};
  }
};

__device__ Cut CutOf(const PlanArgs& args, int count) {
  const int chunk = args.packed_chunk_size == 0 || args.packed_chunk_size > count
                        ? max(count, 1)
                        : static_cast<int>(args.packed_chunk_size);
  return {count, chunk, (chunk + args.tile_rows - 1) / args.tile_rows, args.tile_rows};
}

// Offsets, row tiles and NSPs' shares of experts' counts [E], by one block.
__device__ void MakePlan(const PlanArgs& args, const int* counts, int* offsets) {
  __shared__ int tiles[kMaxPlaces];  // by place: NSP by NSP, slot by slot
  const int t = static_cast<int>(threadIdx.x);
  const int E = args.num_experts;
  const int N = args.num_nsp;
  const int slots = (E + N - 1) / N;
  for (int i = t; i < kMaxPlaces; i += kPlanThreads) offsets[i] = tiles[i] = 0;
  __syncthreads();
  const bool is_expert = t < E;
  const int place = is_expert ? t % N * slots + t / N : 0;
  const Cut cut = CutOf(args, is_expert ? counts[t] : 0);
  if (is_expert) {
    offsets[t] = counts[t];
    tiles[place] = cut.NumTiles();
  }
  ScanPlaces(offsets);
  ScanPlaces(tiles);
  if (is_expert) {
    args.offsets[t] = offsets[t];
    if (t == E - 1) args.offsets[E] = offsets[t] + counts[t];
    for (int i = 0; i < cut.NumTiles(); ++i) {
      args.row_tiles[tiles[place] + i] = cut.Tile(t, offsets[t], i);
    }
  }
  for (int n = t; n <= N; n += kPlanThreads) {
    // The places after the last slot hold no tiles.
    args.nsp_offsets[n] = n * slots < kMaxPlaces ? tiles[n * slots] : tiles[kMaxPlaces - 1];
    if (n == N || args.nsp_rows == nullptr) continue;
    unsigned long long rows = 0;
    for (int e = n; e < E; e += N) rows += static_cast<unsigned long long>(counts[e]);
    args.nsp_rows[n] += rows;
  }
}

__global__ void PlanKernel(const PlanArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  __shared__ int counts[kMaxExperts];
  __shared__ int offsets[kMaxPlaces];
  SumCounts(args, counts);
  MakePlan(args, counts, offsets);
}

// The whole plan of at most kTokensPerRouteBlock tokens.
__global__ void SmallPlanKernel(const PlanArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  extern __shared__ int32_t ids[];
  __shared__ int counts[kMaxExperts];
  __shared__ int offsets[kMaxPlaces];
  const int count = LoadIds(args, ids);
  const int expert = static_cast<int>(threadIdx.x);
  if (expert < args.num_experts) {
    int matches = 0;
    for (int i = 0; i < count; ++i) matches += ids[i] == expert ? 1 : 0;
    counts[expert] = matches;
  }
  MakePlan(args, counts, offsets);
  if (expert >= args.num_experts) return;
  int next = offsets[expert];
  for (int i = 0; i < count; ++i) {
    if (ids[i] == expert) args.assignments[next++] = i;
  }
}

__global__ void IndexKernel(const PlanArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  extern __shared__ int32_t ids[];
  const int count = LoadIds(args, ids);
  const int first = static_cast<int>(blockIdx.x) * kTokensPerRouteBlock * args.experts_per_token;
  for (int e = static_cast<int>(threadIdx.x); e < args.num_experts;
       e += static_cast<int>(blockDim.x)) {
    int next = args.offsets[e] + args.block_counts[e * gridDim.x + blockIdx.x];
    for (int i = 0; i < count; ++i) {
      if (ids[i] == e) args.assignments[next++] = first + i;
    }
  }
}

}  // namespace

cudaError_t LaunchRoute(const RouteArgs& args, cudaStream_t stream) {
  if (args.num_tokens == 0) return cudaSuccess;
  constexpr int kTokens = kRouteThreads / 32;
  const auto blocks = static_cast<unsigned>((args.num_tokens + kTokens - 1) / kTokens);
  return LaunchChained(RouteKernel, blocks, kRouteThreads,
                       kTokens * args.num_experts * sizeof(float), stream, args);
}

int64_t MaxRowTiles(int64_t num_assignments, int num_experts, int64_t packed_chunk_size,
                    int tile_rows) {
  const int64_t chunks =
      packed_chunk_size == 0 ? 0 : (num_assignments + packed_chunk_size - 1) / packed_chunk_size;
  return num_experts + chunks + num_assignments / tile_rows;
}

cudaError_t LaunchPlan(const PlanArgs& args, cudaStream_t stream) {
  if (args.num_experts > kMaxExperts || args.num_nsp > args.num_experts) {
    return cudaErrorInvalidValue;
  }
  const auto blocks =
      static_cast<unsigned>((args.num_tokens + kTokensPerRouteBlock - 1) / kTokensPerRouteBlock);
  const size_t shared = sizeof(int32_t) * kTokensPerRouteBlock * args.experts_per_token;
  const int threads = (args.num_experts + 31) / 32 * 32;
  if (blocks == 1) {
    return LaunchChained(SmallPlanKernel, 1, kPlanThreads, shared, stream, args);
  }
  cudaError_t error = cudaSuccess;
  const auto launch = [&](auto kernel, int64_t num_blocks, int num_threads, size_t shared_bytes) {
    if (error != cudaSuccess || num_blocks == 0) return;
    error = LaunchChained(kernel, num_blocks, num_threads, shared_bytes, stream, args);
  };
  launch(CountKernel, blocks, threads, shared);
  launch(PlanKernel, 1, kPlanThreads, 0);
  launch(IndexKernel, blocks, threads, shared);
  return error;
}

}  // namespace expertile::cuda
