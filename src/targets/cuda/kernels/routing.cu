// Routing on the device: a warp chooses a token's experts. Which of 32 tokens chose an expert is a
// word of bits, whose number gives the plan, and those before a token's its place in the index,
// which so is in token order, whatever the order in which threads run.
#include <algorithm>

#include "targets/cuda/kernels/expert_choice.cuh"
#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/routing.h"

namespace expertile::cuda {
namespace {

constexpr int kMaxThreads = kMaxExperts;  // of a block that makes the plan: a thread an expert
constexpr int kMaxWarps = kMaxThreads / 32;
constexpr int kMaxPlaces = 2 * kMaxExperts;  // slots of all NSPs

// ---- The choice

// The choices of `count` tokens from `first` on, a warp each, and their bits in marks [E]. Ids are
// left in shared memory, [count, K], and beside them as many weights.
template <int kPerLane>
__device__ void ChooseAndMark(const RouteArgs& args, int64_t first, int count, int32_t* ids,
                              uint32_t* marks) {
  const int K = args.experts_per_token;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (warp >= count) return;
  int32_t* mine = ids + warp * K;
  auto* weights = reinterpret_cast<float*>(ids + count * K) + warp * K;
  ChooseExperts<kPerLane>(args, first + warp, lane, mine, weights);
  for (int k = lane; k < K; k += 32) atomicOr(&marks[mine[k]], 1u << warp);
}

// 8 tokens a block, whose marks are a byte of each word.
constexpr int kTokensPerBlock = 8;
constexpr int kBlocksPerWord = kTokenBlock / kTokensPerBlock;
constexpr int kChoiceThreads = 32 * kTokensPerBlock;

template <int kPerLane>
__global__ __launch_bounds__(kChoiceThreads) void ChoiceKernel(const RouteArgs args,
                                                               const PlanArgs plan) {
  LetNextKernelBegin();
  extern __shared__ int32_t ids[];
  __shared__ uint32_t marks[kMaxExperts];
  const int E = args.num_experts;
  for (int e = static_cast<int>(threadIdx.x); e < E; e += kChoiceThreads) marks[e] = 0;
  __syncthreads();
  WaitForEarlierKernels();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTokensPerBlock;
  const int64_t left = args.num_tokens - first;  // none, in a word's last bytes
  const int count = left < 0                 ? 0
                    : left < kTokensPerBlock ? static_cast<int>(left)
                                             : kTokensPerBlock;
  ChooseAndMark<kPerLane>(args, first, count, ids, marks);
  __syncthreads();
  const int word = static_cast<int>(blockIdx.x) / kBlocksPerWord;
  const int byte = static_cast<int>(blockIdx.x) % kBlocksPerWord;
  auto* bytes = reinterpret_cast<uint8_t*>(plan.marks + static_cast<int64_t>(word) * E) + byte;
  for (int e = static_cast<int>(threadIdx.x); e < E; e += kChoiceThreads) {
    bytes[kBlocksPerWord * e] = static_cast<uint8_t>(marks[e]);
  }
}

// ---- The plan and the index

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
  __shared__ T sums[kMaxWarps];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const T inclusive = WarpInclusiveSum(value);
  __syncthreads();
  if (lane == 31) sums[warp] = inclusive;
  __syncthreads();
  T before = inclusive - value;
  if (warp > 0) {
    const int last = warp - 1;
    const T sum = WarpInclusiveSum(lane <= last ? sums[lane] : T{0});
    before += __shfl_sync(kAllLanes, sum, last);
  }
  return before;
}

// How often experts were chosen, and before each word of marks: where there are many words. A block
// for 32 experts, each warp of which goes through a part of the words.
__global__ __launch_bounds__(kMaxThreads) void CountKernel(const RouteArgs route,
                                                           const PlanArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  __shared__ int sums[kMaxWarps][32];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t E = route.num_experts;
  const int64_t expert = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  const bool is_expert = expert < E;
  const int64_t blocks = (route.num_tokens + kTokenBlock - 1) / kTokenBlock;
  const int64_t part = (blocks + kMaxWarps - 1) / kMaxWarps;
  const int64_t begin = min(blocks, warp * part);
  const int64_t end = min(blocks, begin + part);
  int sum = 0;
#pragma unroll 8
  for (int64_t b = begin; b < end; ++b) sum += is_expert ? __popc(args.marks[b * E + expert]) : 0;
  sums[warp][lane] = sum;
  __syncthreads();
  int before = 0;
  for (int w = 0; w < warp; ++w) before += sums[w][lane];
  if (!is_expert) return;
#pragma unroll 8
  for (int64_t b = begin; b < end; ++b) {
    args.before[b * E + expert] = before;
    before += __popc(args.marks[b * E + expert]);
  }
  if (warp == kMaxWarps - 1) args.counts[expert] = before;
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

// Offsets, row tiles and NSPs' shares, by one block: a thread for each expert, `count` of which is
// how often it was chosen; other threads' are 0.
__device__ void MakePlan(const PlanArgs& args, int num_experts, int count) {
  __shared__ int tiles[kMaxPlaces];  // by place: NSP by NSP, slot by slot; fewer than 2 E
  __shared__ int counts[kMaxExperts];
  const int t = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  const int E = num_experts;
  const int N = args.num_nsp;
  const int slots = (E + N - 1) / N;
  counts[t] = count;
  tiles[t] = tiles[threads + t] = 0;
  for (int i = t; i < 2 * N; i += threads) args.claims[i] = 0;
  __syncthreads();
  const bool is_expert = t < E;
  const int place = is_expert ? t % N * slots + t / N : 0;
  const Cut cut = CutOf(args, count);
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
    if (t == E - 1) args.offsets[E] = offset + count;
    for (int i = 0; i < cut.NumTiles(); ++i) {
      args.row_tiles[tiles[place] + i] = cut.Tile(t, offset, static_cast<int>(before), i);
    }
  }
  for (int n = t; n <= N; n += threads) {
    args.nsp_offsets[n] = tiles[n * slots];  // the places after the last slot hold no tiles
    if (n == N || args.nsp_rows == nullptr) continue;
    unsigned long long rows = 0;
    for (int e = n; e < E; e += N) rows += static_cast<unsigned long long>(counts[e]);
    args.nsp_rows[n] += rows;
  }
}

// `count` assignments from `first` on of 32 tokens, by a block: each to the place that its expert's
// next is, past those of the tokens before it. `ids` are theirs.
__device__ void WriteIndex(const PlanArgs& args, const int32_t* ids, int first, int count, int K,
                           const int* next, const uint32_t* marks) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    const int id = ids[i];
    args.assignments[next[id] + __popc(marks[id] & ((1u << i / K) - 1))] = first + i;
  }
}

// The first block makes the plan, each of the others a word's part of the index.
template <bool kIsCounted>
__global__ __launch_bounds__(kMaxThreads) void IndexKernel(const RouteArgs route,
                                                           const PlanArgs args) {
  LetNextKernelBegin();
  __shared__ int next[kMaxExperts];
  __shared__ uint32_t marks[kMaxExperts];
  const int t = static_cast<int>(threadIdx.x);
  const int E = route.num_experts;
  const int K = route.experts_per_token;
  const auto blocks = static_cast<int>(gridDim.x) - 1;
  const int block = static_cast<int>(blockIdx.x) - 1;
  WaitForEarlierKernels();
  int count = 0;
  int before = 0;
  if (t < E) {
    if constexpr (kIsCounted) {
      count = args.counts[t];
      if (block >= 0) before = args.before[static_cast<int64_t>(block) * E + t];
    } else {
#pragma unroll 16
      for (int b = 0; b < blocks; ++b) {
        const int chosen = __popc(args.marks[b * E + t]);
        count += chosen;
        before += b < block ? chosen : 0;
      }
    }
    if (block >= 0) marks[t] = args.marks[static_cast<int64_t>(block) * E + t];
  }
  if (block < 0) return MakePlan(args, E, count);
  const int offset = BlockExclusiveSum(count);
  if (t < E) next[t] = offset + before;
  __syncthreads();
  const int64_t first = static_cast<int64_t>(block) * kTokenBlock;
  const auto tokens =
      static_cast<int>(min(static_cast<int64_t>(kTokenBlock), route.num_tokens - first));
  WriteIndex(args, route.ids + first * K, static_cast<int>(first) * K, tokens * K, K, next, marks);
}

// All of it for at most kTokenBlock tokens.
template <int kPerLane>
__global__ __launch_bounds__(kMaxThreads) void SmallRoutingKernel(const RouteArgs route,
                                                                  const PlanArgs args) {
  LetNextKernelBegin();
  extern __shared__ int32_t ids[];
  __shared__ uint32_t marks[kMaxExperts];
  __shared__ int next[kMaxExperts];
  const int t = static_cast<int>(threadIdx.x);
  const auto tokens = static_cast<int>(route.num_tokens);
  const int K = route.experts_per_token;
  marks[t] = 0;
  __syncthreads();
  WaitForEarlierKernels();
  ChooseAndMark<kPerLane>(route, 0, tokens, ids, marks);
  __syncthreads();
  const int count = __popc(marks[t]);
  MakePlan(args, route.num_experts, count);
  next[t] = BlockExclusiveSum(count);
  __syncthreads();
  WriteIndex(args, ids, 0, tokens * K, K, next, marks);
}

// The same for at most kFewTokens tokens of one NSP without chunks: an expert's rows are one tile.
// Its threads are few, so that they meet soon.
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
  extern __shared__ int32_t ids[];
  __shared__ uint32_t marks[kFewThreads];
  __shared__ int next[kFewThreads], sums[kFewTokens];
  const int t = static_cast<int>(threadIdx.x);
  const int warp = t / 32;
  const int K = route.experts_per_token;
  const auto tokens = static_cast<int>(route.num_tokens);
  marks[t] = 0;
  __syncthreads();
  WaitForEarlierKernels();
  ChooseAndMark<kPerLane>(route, 0, tokens, ids, marks);
  __syncthreads();
  const int count = __popc(marks[t]);
  const int both = (count > 0 ? 1 << 16 : 0) | count;  // tiles and rows
  const int inclusive = WarpInclusiveSum(both);
  if (t % 32 == 31) sums[warp] = inclusive;
  __syncthreads();
  int before = inclusive - both;
  for (int w = 0; w < warp; ++w) before += sums[w];
  const int offset = next[t] = before & 0xffff;
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
  WriteIndex(args, ids, 0, tokens * K, K, next, marks);
}

// ---- Launches

// Ids and weights of `tokens` tokens.
size_t ChoiceBytes(const RouteArgs& route, int64_t tokens) {
  return size_t{8} * tokens * route.experts_per_token;
}

// Up to here each block of the index counts all words of marks itself.
constexpr int64_t kMostWordsUncounted = 64;

cudaError_t LaunchIndex(const RouteArgs& route, const PlanArgs& plan, cudaStream_t stream) {
  const int64_t words = NumTokenBlocks(route.num_tokens);
  const int threads = route.num_experts <= 256 ? 256 : kMaxThreads;
  const auto blocks = static_cast<unsigned>(words + 1);
  if (words <= kMostWordsUncounted) {
    return LaunchChained(IndexKernel<false>, blocks, threads, 0, stream, route, plan);
  }
  const auto count_blocks = static_cast<unsigned>((route.num_experts + 31) / 32);
  const cudaError_t error =
      LaunchChained(CountKernel, count_blocks, kMaxThreads, 0, stream, route, plan);
  if (error != cudaSuccess) return error;
  return LaunchChained(IndexKernel<true>, blocks, threads, 0, stream, route, plan);
}

template <int kPerLane>
cudaError_t Launch(const RouteArgs& route, const PlanArgs& plan, cudaStream_t stream) {
  if constexpr (kPerLane <= kFewThreads / 32) {
    if (AreFewTokens(route, plan)) {
      return LaunchChained(FewTokensRoutingKernel<kPerLane>, 1, kFewThreads,
                           ChoiceBytes(route, route.num_tokens), stream, route, plan);
    }
  }
  if (route.num_tokens <= kTokenBlock) {
    constexpr auto* kKernel = SmallRoutingKernel<kPerLane>;
    const cudaError_t allowed = AllowSharedBytes<kKernel, 8 * kTokenBlock * kMaxExpertsPerToken>();
    if (allowed != cudaSuccess) return allowed;
    return LaunchChained(kKernel, 1, kMaxThreads, ChoiceBytes(route, route.num_tokens), stream,
                         route, plan);
  }
  const auto blocks = static_cast<unsigned>(NumTokenBlocks(route.num_tokens) * kBlocksPerWord);
  const cudaError_t error = LaunchChained(ChoiceKernel<kPerLane>, blocks, kChoiceThreads,
                                          ChoiceBytes(route, kTokensPerBlock), stream, route, plan);
  return error != cudaSuccess ? error : LaunchIndex(route, plan, stream);
}

// Chunks beyond each expert's first, at most.
int64_t MaxCuts(int64_t num_assignments, int64_t packed_chunk_size) {
  return packed_chunk_size == 0 ? 0
                                : RoundUp(num_assignments, packed_chunk_size) / packed_chunk_size;
}

}  // namespace

int64_t MaxRowTiles(int64_t num_assignments, int num_experts, int64_t packed_chunk_size,
                    int tile_rows) {
  return num_experts + MaxCuts(num_assignments, packed_chunk_size) + num_assignments / tile_rows;
}

int64_t MaxStoredRows(int64_t num_assignments, int num_experts, int64_t packed_chunk_size) {
  return RoundUp(num_assignments, 8) + 8 * (std::min<int64_t>(num_assignments, num_experts) +
                                            MaxCuts(num_assignments, packed_chunk_size));
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
