// Routing on the device: a warp chooses a token's experts; blocks of tokens are counted, one
// block makes the plan, a warp for each block of tokens writes the index. No atomics order
// anything: the index is in token order.
#include <algorithm>

#include "targets/cuda/expert_choice.cuh"
#include "targets/cuda/launch.cuh"
#include "targets/cuda/routing.h"

namespace expertile::cuda {
namespace {

constexpr int kThreads = 32 * kTokensPerRouteBlock;  // a warp for each token, a thread an expert
constexpr int kMaxPlaces = 2 * kMaxExperts;          // slots of all NSPs
constexpr int kIndexWarps = 4;
static_assert(kThreads == kMaxExperts);

// The choice of `count` tokens from `first` on by a block, and how often each expert is there. A
// warp keeps the ids of its last token in shared memory, [warps, K].
template <int kPerLane>
__device__ void ChooseAndCount(const RouteArgs& args, int64_t first, int count, int32_t* ids,
                               int* counts) {
  const int K = args.experts_per_token;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  int32_t* mine = ids + warp * K;
  auto* weights = reinterpret_cast<float*>(ids + kTokensPerRouteBlock * K) + warp * K;
  counts[threadIdx.x] = 0;
  __syncthreads();
  for (int t = warp; t < count; t += kThreads / 32) {
    ChooseExperts<kPerLane>(args, first + t, lane, mine, weights);
    for (int k = lane; k < K; k += 32) atomicAdd(&counts[mine[k]], 1);
    __syncwarp();
  }
  __syncthreads();
}

__device__ inline int TokensOfBlock(const RouteArgs& args, const PlanArgs& plan, int64_t first) {
  return static_cast<int>(
      min(static_cast<int64_t>(plan.tokens_per_block), args.num_tokens - first));
}

template <int kPerLane>
__global__ __launch_bounds__(kThreads) void RouteKernel(const RouteArgs args, const PlanArgs plan) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  extern __shared__ int32_t ids[];
  __shared__ int counts[kMaxExperts];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * plan.tokens_per_block;
  ChooseAndCount<kPerLane>(args, first, TokensOfBlock(args, plan, first), ids, counts);
  const int expert = static_cast<int>(threadIdx.x);
  if (expert >= args.num_experts) return;
  plan.block_counts[expert * plan.count_stride + blockIdx.x] = counts[expert];
}

// ---- The index and the plan

template <typename T>
__device__ inline T WarpInclusiveSum(T value) {
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const T before = __shfl_up_sync(kAllLanes, value, offset);
    if (static_cast<int>(threadIdx.x) % 32 >= offset) value += before;
  }
  return value;
}

// The sum of the values of all threads before this one.
template <typename T>
__device__ T BlockExclusiveSum(T value) {
  __shared__ T sums[kThreads / 32];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const T inclusive = WarpInclusiveSum(value);
  __syncthreads();
  if (lane == 31) sums[warp] = inclusive;
  __syncthreads();
  if (warp == 0) sums[lane] = WarpInclusiveSum(sums[lane]);
  __syncthreads();
  return inclusive - value + (warp == 0 ? T{0} : sums[warp - 1]);
}

// A warp for each expert: its counts of blocks become their exclusive sums.
__device__ void SumCounts(const RouteArgs& route, const PlanArgs& args, int* expert_counts) {
  constexpr int kPerLane = 8;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const auto blocks =
      static_cast<int>((route.num_tokens + args.tokens_per_block - 1) / args.tokens_per_block);
  for (int e = static_cast<int>(threadIdx.x) / 32; e < route.num_experts; e += kThreads / 32) {
    int total = 0;
    for (int begin = kPerLane * lane; begin - kPerLane * lane < blocks; begin += kPerLane * 32) {
      auto* place = reinterpret_cast<int4*>(args.block_counts + e * args.count_stride + begin);
      int counts[kPerLane] = {};
      if (begin < blocks) {
        reinterpret_cast<int4*>(counts)[0] = place[0];
        reinterpret_cast<int4*>(counts)[1] = place[1];
      }
      int sum = 0;
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) {
        const int count = begin + j < blocks ? counts[j] : 0;
        counts[j] = sum;
        sum += count;
      }
      const int inclusive = WarpInclusiveSum(sum);
#pragma unroll
      for (int& count : counts) count += total + inclusive - sum;
      if (begin < blocks) {
        place[0] = reinterpret_cast<int4*>(counts)[0];
        place[1] = reinterpret_cast<int4*>(counts)[1];
      }
      total += __shfl_sync(kAllLanes, inclusive, 31);
    }
    if (lane == 0) expert_counts[e] = total;
  }
}

// How an expert's rows are cut: chunks of at most P rows, each into as few tiles as can be, which
// begin at multiples of 8 in rows that are stored in tiles.
struct Cut {
  int count;
  int chunk;            // P
  int tiles_per_chunk;  // of a whole one
  int tile_rows;        // at most
  int stored_chunk;     // of a whole one
  bool is_even;

  __device__ int NumTiles() const {
    return count / chunk * tiles_per_chunk + (count % chunk + tile_rows - 1) / tile_rows;
  }
  __device__ int NumStored() const {
    return count / chunk * stored_chunk + (count % chunk + 7) / 8 * 8;
  }
  __device__ RowTile Tile(int expert, int first, int stored, int i) const {
    const int c = i / tiles_per_chunk;
    const int rows = min(count - c * chunk, chunk);  // of the chunk
    const int inside = i % tiles_per_chunk * RowsOfTile(rows);
    const int begin = c * chunk + inside;
    const int end = c * chunk + min(inside + RowsOfTile(rows), rows);
    return {expert, first + begin, first + end, stored + c * stored_chunk + inside};
  }
  // Of a chunk of `rows`. Rounding up to 8 leaves no tile empty: the tiles but one, full, have less
  // than `rows`.
  __device__ int RowsOfTile(int rows) const {
    if (!is_even) return tile_rows;
    const int tiles = (rows + tile_rows - 1) / tile_rows;
    return ((rows + tiles - 1) / tiles + 7) / 8 * 8;
  }
};

__device__ Cut CutOf(const PlanArgs& args, int count) {
  const int chunk = args.packed_chunk_size == 0 || args.packed_chunk_size > count
                        ? max(count, 1)
                        : static_cast<int>(args.packed_chunk_size);
  return {count,
          chunk,
          (chunk + args.tile_rows - 1) / args.tile_rows,
          args.tile_rows,
          (chunk + 7) / 8 * 8,
          args.has_even_tiles};
}

// Offsets, row tiles and NSPs' shares of experts' counts [E], by one block.
__device__ void MakePlan(const PlanArgs& args, int num_experts, const int* counts) {
  __shared__ int tiles[kMaxPlaces];  // by place: NSP by NSP, slot by slot
  const int t = static_cast<int>(threadIdx.x);
  const int E = num_experts;
  const int N = args.num_nsp;
  const int slots = (E + N - 1) / N;
  for (int i = t; i < kMaxPlaces; i += kThreads) tiles[i] = 0;
  for (int i = t; i < 2 * N; i += kThreads) args.claims[i] = 0;
  __syncthreads();
  const bool is_expert = t < E;
  const int place = is_expert ? t % N * slots + t / N : 0;
  const Cut cut = CutOf(args, is_expert ? counts[t] : 0);
  if (is_expert) tiles[place] = cut.NumTiles();
  const auto both = static_cast<unsigned long long>(cut.count) << 32 | cut.NumStored();
  const unsigned long long before = BlockExclusiveSum(both);
  const int first = tiles[2 * t];
  const int second = tiles[2 * t + 1];
  const int tiles_before = BlockExclusiveSum(first + second);
  tiles[2 * t] = tiles_before;
  tiles[2 * t + 1] = tiles_before + first;
  __syncthreads();
  if (is_expert) {
    const auto offset = static_cast<int>(before >> 32);
    args.offsets[t] = offset;
    if (t == E - 1) args.offsets[E] = offset + counts[t];
    for (int i = 0; i < cut.NumTiles(); ++i) {
      args.row_tiles[tiles[place] + i] = cut.Tile(t, offset, static_cast<int>(before), i);
    }
  }
  for (int n = t; n <= N; n += kThreads) {
    // The places after the last slot hold no tiles.
    args.nsp_offsets[n] = n * slots < kMaxPlaces ? tiles[n * slots] : tiles[kMaxPlaces - 1];
    if (n == N || args.nsp_rows == nullptr) continue;
    unsigned long long rows = 0;
    for (int e = n; e < E; e += N) rows += static_cast<unsigned long long>(counts[e]);
    args.nsp_rows[n] += rows;
  }
}

__global__ __launch_bounds__(kThreads) void PlanKernel(const RouteArgs route, const PlanArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  __shared__ int counts[kMaxExperts];
  SumCounts(route, args, counts);
  __syncthreads();
  MakePlan(args, route.num_experts, counts);
}

// Assignments `first` to first + count - 1 with expert ids ids[], by one warp: each to its expert's
// next place, in order.
__device__ void WriteIndex(const int32_t* ids, int first, int count, int* next,
                           int32_t* assignments) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = lane; i - lane < count; i += 32) {
    const int id = i < count ? ids[i] : -1;
    const unsigned same = __match_any_sync(kAllLanes, id);
    const int rank = __popc(same & ((1u << lane) - 1));
    if (id >= 0) assignments[next[id] + rank] = first + i;
    __syncwarp();
    if (id >= 0 && rank == 0) next[id] += __popc(same);
    __syncwarp();
  }
}

__global__ void IndexKernel(const RouteArgs route, const PlanArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  extern __shared__ int next[];  // [kIndexWarps, E]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int E = route.num_experts;
  const int64_t block =
      static_cast<int64_t>(blockIdx.x) * kIndexWarps + static_cast<int>(threadIdx.x) / 32;
  const int64_t first = block * args.tokens_per_block;
  if (first >= route.num_tokens) return;
  int* mine = next + static_cast<int>(threadIdx.x) / 32 * E;
  for (int e = lane; e < E; e += 32) {
    mine[e] = args.offsets[e] + args.block_counts[e * args.count_stride + block];
  }
  __syncwarp();
  const int K = route.experts_per_token;
  WriteIndex(route.ids + first * K, static_cast<int>(first) * K,
             TokensOfBlock(route, args, first) * K, mine, args.assignments);
}

// All of it for at most kTokensPerRouteBlock tokens.
template <int kPerLane>
__global__ __launch_bounds__(kThreads) void SmallRoutingKernel(const RouteArgs route,
                                                               const PlanArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  extern __shared__ int32_t ids[];
  __shared__ int counts[kMaxExperts];
  const auto tokens = static_cast<int>(route.num_tokens);
  ChooseAndCount<kPerLane>(route, 0, tokens, ids, counts);
  MakePlan(args, route.num_experts, counts);
  __syncthreads();
  const int expert = static_cast<int>(threadIdx.x);
  if (expert < route.num_experts) counts[expert] = args.offsets[expert];
  __syncthreads();
  if (threadIdx.x < 32)
    WriteIndex(ids, 0, tokens * route.experts_per_token, counts, args.assignments);
}

// The same for at most kFewTokens tokens, a warp each, of one NSP without chunks: an expert's rows
// are one tile. Its threads are few, so that they meet soon.
constexpr int kFewTokens = 8;
constexpr int kFewThreads = 32 * kFewTokens;  // at least one for each expert

bool AreFewTokens(const RouteArgs& route, const PlanArgs& plan) {
  return route.num_tokens <= std::min(kFewTokens, plan.tile_rows) && plan.num_nsp == 1 &&
         route.num_experts <= kFewThreads && plan.packed_chunk_size == 0 &&
         plan.nsp_rows == nullptr;
}

template <int kPerLane>
__global__ __launch_bounds__(kFewThreads) void FewTokensRoutingKernel(const RouteArgs route,
                                                                      const PlanArgs args) {
  LetNextKernelBegin();
  extern __shared__ int32_t ids[];  // [T,K], then as many weights
  __shared__ int counts[kFewThreads], sums[kFewTokens];
  const int t = static_cast<int>(threadIdx.x);
  const int warp = t / 32;
  const int K = route.experts_per_token;
  const auto tokens = static_cast<int>(route.num_tokens);
  counts[t] = 0;
  __syncthreads();
  WaitForEarlierKernels();
  if (warp < tokens) {
    auto* weights = reinterpret_cast<float*>(ids + tokens * K) + warp * K;
    ChooseExperts<kPerLane>(route, warp, t % 32, ids + warp * K, weights);
    for (int k = t % 32; k < K; k += 32) atomicAdd(&counts[ids[warp * K + k]], 1);
  }
  __syncthreads();
  const int count = counts[t];
  const int both = (count > 0 ? 1 << 16 : 0) | count;  // tiles and rows
  const int inclusive = WarpInclusiveSum(both);
  if (t % 32 == 31) sums[warp] = inclusive;
  __syncthreads();
  int before = inclusive - both;
  for (int w = 0; w < warp; ++w) before += sums[w];
  const int offset = counts[t] = before & 0xffff;
  const int tile = before >> 16;
  if (t < route.num_experts) args.offsets[t] = offset;
  if (count > 0) args.row_tiles[tile] = {t, offset, offset + count, 8 * tile};
  if (t == kFewThreads - 1) {
    args.offsets[route.num_experts] = offset + count;
    args.nsp_offsets[0] = 0;
    args.nsp_offsets[1] = tile + (count > 0 ? 1 : 0);
  }
  if (t < 2) args.claims[t] = 0;
  __syncthreads();
  if (warp == 0) WriteIndex(ids, 0, tokens * K, counts, args.assignments);
}

template <int kPerLane>
cudaError_t Launch(const RouteArgs& route, const PlanArgs& plan, cudaStream_t stream) {
  if constexpr (kPerLane <= kFewThreads / 32) {
    if (AreFewTokens(route, plan)) {
      const size_t shared = size_t{8} * route.num_tokens * route.experts_per_token;
      return LaunchChained(FewTokensRoutingKernel<kPerLane>, 1, kFewThreads, shared, stream, route,
                           plan);
    }
  }
  const auto blocks =
      static_cast<unsigned>((route.num_tokens + plan.tokens_per_block - 1) / plan.tokens_per_block);
  constexpr auto kMost = static_cast<int>(8 * kTokensPerRouteBlock * kMaxExpertsPerToken);
  const size_t shared = size_t{8} * kTokensPerRouteBlock * route.experts_per_token;
  const auto prepare = [](const void* kernel) {
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kMost);
  };
  static const cudaError_t prepared =
      std::max(prepare(reinterpret_cast<const void*>(RouteKernel<kPerLane>)),
               prepare(reinterpret_cast<const void*>(SmallRoutingKernel<kPerLane>)));
  if (prepared != cudaSuccess) return prepared;
  if (blocks == 1) {
    return LaunchChained(SmallRoutingKernel<kPerLane>, 1, kThreads, shared, stream, route, plan);
  }
  cudaError_t error =
      LaunchChained(RouteKernel<kPerLane>, blocks, kThreads, shared, stream, route, plan);
  if (error != cudaSuccess) return error;
  error = LaunchChained(PlanKernel, 1, kThreads, 0, stream, route, plan);
  if (error != cudaSuccess) return error;
  return LaunchChained(IndexKernel, (blocks + kIndexWarps - 1) / kIndexWarps, 32 * kIndexWarps,
                       sizeof(int) * kIndexWarps * route.num_experts, stream, route, plan);
}

}  // namespace

int64_t MaxRowTiles(int64_t num_assignments, int num_experts, int64_t packed_chunk_size,
                    int tile_rows) {
  const int64_t chunks =
      packed_chunk_size == 0 ? 0 : (num_assignments + packed_chunk_size - 1) / packed_chunk_size;
  return num_experts + chunks + num_assignments / tile_rows;
}

int64_t MaxStoredRows(int64_t num_assignments, int num_experts, int64_t packed_chunk_size) {
  const int64_t chunks =
      packed_chunk_size == 0 ? 0 : (num_assignments + packed_chunk_size - 1) / packed_chunk_size;
  return RoundUp(num_assignments, 8) +
         8 * (std::min<int64_t>(num_assignments, num_experts) + chunks);
}

cudaError_t LaunchRouting(const RouteArgs& route, const PlanArgs& plan, cudaStream_t stream) {
  const int E = route.num_experts;
  if (E > kMaxExperts || plan.num_nsp > E || route.experts_per_token > kMaxExpertsPerToken) {
    return cudaErrorInvalidValue;
  }
  if (route.num_tokens == 0) return cudaSuccess;
  if (E <= 32) return Launch<1>(route, plan, stream);
  if (E <= 64) return Launch<2>(route, plan, stream);
  if (E <= 128) return Launch<4>(route, plan, stream);
  if (E <= 256) return Launch<8>(route, plan, stream);
  return Launch<32>(route, plan, stream);
}

}  // namespace expertile::cuda
