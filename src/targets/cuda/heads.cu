// Heads on their way from the product of queries, keys and values to attention and to the cache.
#include "targets/cuda/attention.h"
#include "targets/cuda/launch.cuh"
#include "targets/cuda/tile_shape.h"

namespace expertile::cuda {
namespace {

__device__ inline float WarpSum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffff, x, offset);
  return x;
}

// Of a head's elements j and j + D/2, which RoPE turns together, those of a lane: j = 64 i + 2 lane
// + {0, 1} for i = 0, 1, in float32.
struct HeadPairs {
  static constexpr int kMax = 4;  // D <= 256
  float first[kMax];
  float second[kMax];
};

__device__ inline int IndexOf(int i, int lane) { return i / 2 * 64 + 2 * lane + i % 2; }

// Neighbours at once where both halves of a head begin at a whole word.
__device__ inline bool AreWords(int half) { return half % 2 == 0; }

__device__ inline void LoadPairs(const __nv_bfloat16* head, int half, int lane, HeadPairs& pairs) {
#pragma unroll
  for (int i = 0; i < HeadPairs::kMax; i += 2) {
    const int j = IndexOf(i, lane);
    float2 first = {};
    float2 second = {};
    if (AreWords(half) && j < half) {
      first = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(head + j));
      second = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(head + half + j));
    } else if (j < half) {
      first.x = __bfloat162float(head[j]);
      second.x = __bfloat162float(head[half + j]);
      if (j + 1 < half) first.y = __bfloat162float(head[j + 1]);
      if (j + 1 < half) second.y = __bfloat162float(head[half + j + 1]);
    }
    pairs.first[i] = first.x;
    pairs.first[i + 1] = first.y;
    pairs.second[i] = second.x;
    pairs.second[i + 1] = second.y;
  }
}

__device__ inline void NormPairs(const float* weight, float epsilon, int half, int lane,
                                 HeadPairs& pairs) {
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < HeadPairs::kMax; ++i) {
    sum = fmaf(pairs.first[i], pairs.first[i], sum);
    sum = fmaf(pairs.second[i], pairs.second[i], sum);
  }
  const float inverse = rsqrtf(WarpSum(sum) / static_cast<float>(2 * half) + epsilon);
#pragma unroll
  for (int i = 0; i < HeadPairs::kMax; ++i) {
    const int j = IndexOf(i, lane);
    if (j >= half) continue;
    pairs.first[i] *= inverse * weight[j];
    pairs.second[i] *= inverse * weight[j + half];
  }
}

__device__ inline void TurnPairs(const float* cos, const float* sin, int half, int lane,
                                 HeadPairs& pairs) {
#pragma unroll
  for (int i = 0; i < HeadPairs::kMax; ++i) {
    const int j = IndexOf(i, lane);
    if (j >= half) continue;
    const float x = pairs.first[i];
    const float y = pairs.second[i];
    pairs.first[i] = x * cos[j] - y * sin[j];
    pairs.second[i] = y * cos[j] + x * sin[j];
  }
}

// Stores a head's padded elements at place_of(d), which keeps neighbours together.
template <typename PlaceOf>
__device__ void StorePairs(const HeadPairs& pairs, int half, int padded, int lane,
                           __nv_bfloat16* target, PlaceOf place_of) {
#pragma unroll
  for (int i = 0; i < HeadPairs::kMax; i += 2) {
    const int j = IndexOf(i, lane);
    if (j >= half) continue;
    if (AreWords(half)) {
      *reinterpret_cast<__nv_bfloat162*>(target + place_of(j)) =
          __floats2bfloat162_rn(pairs.first[i], pairs.first[i + 1]);
      *reinterpret_cast<__nv_bfloat162*>(target + place_of(j + half)) =
          __floats2bfloat162_rn(pairs.second[i], pairs.second[i + 1]);
      continue;
    }
    for (int k = 0; k < 2 && j + k < half; ++k) {
      target[place_of(j + k)] = __float2bfloat16_rn(pairs.first[i + k]);
      target[place_of(j + k + half)] = __float2bfloat16_rn(pairs.second[i + k]);
    }
  }
  for (int d = 2 * half + lane; d < padded; d += 32) target[place_of(d)] = __float2bfloat16_rn(0);
}

__device__ void StoreValue(const PrepareHeadsArgs& args, int64_t block, int head, int position,
                           const HeadPairs& pairs, int lane) {
  const KvPlanes& cache = args.cache;
  const int half = cache.head_dim / 2;
  StorePairs(pairs, half, cache.padded_head_dim, lane,
             cache.values + block * cache.block_elements() + head * cache.head_elements(),
             [&](int d) { return KvPlanes::ElementOf(position, d); });
  bool is_finite = true;
#pragma unroll
  for (int i = 0; i < HeadPairs::kMax; ++i) {
    is_finite = is_finite && isfinite(pairs.first[i]) && isfinite(pairs.second[i]);
  }
  const bool all_finite = __all_sync(0xffffffff, is_finite);
  if (lane != 0) return;
  unsigned long long* mask = &cache.non_finite[block * cache.num_kv_heads + head];
  const unsigned long long bit = 1ull << position;
  if (!all_finite) {
    atomicOr(mask, bit);
  } else if ((*mask & bit) != 0) {
    atomicAnd(mask, ~bit);
  }
}

// Has values [0, count), which a later load takes, brought to the second-level cache.
__device__ inline void Prefetch(const float* values, int count, int lane) {
  constexpr int kLine = 32;
  if (values == nullptr || lane * kLine >= count) return;
  asm volatile("prefetch.global.L2 [%0];" ::"l"(values + lane * kLine));
}

// Where a row's keys and values lie: the block, and the position in it.
struct CachePlace {
  int64_t block;
  int position;
};

__device__ inline CachePlace FindPlace(const StepRowsView& rows, int64_t row) {
  const int position = rows.positions[row];
  const int table = rows.table_offsets[rows.sequences[row]];
  return {rows.blocks[table + position / kKeysPerBlock], position % kKeysPerBlock};
}

// A warp for each head of each row: queries, then keys, then values.
__global__ void PrepareHeadsKernel(const PrepareHeadsArgs args) {
  LetNextKernelBegin();
  const KvPlanes& cache = args.cache;
  const int num_heads = args.num_heads + 2 * cache.num_kv_heads;
  const int64_t warp = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const int64_t row = warp / num_heads;
  if (row >= args.num_rows) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int head = static_cast<int>(warp % num_heads);
  const int half = cache.head_dim / 2;
  const bool is_query = head < args.num_heads;
  const bool is_key = !is_query && head < args.num_heads + cache.num_kv_heads;
  if (!is_query) head = (head - args.num_heads) % cache.num_kv_heads;
  const int64_t column = is_query ? 0 : (is_key ? args.key_column : args.value_column);
  // Of few rows what is not made by earlier kernels is fetched while they run: a step's inputs are
  // there before its first kernel. Of many rows other warps hide the wait, and fetching only costs.
  const bool is_early = args.num_rows <= kFewRowsTile.rows;
  CachePlace place{};
  if (is_early) {
    if (!is_query) place = FindPlace(args.rows, row);
    Prefetch(is_query ? args.query_norm : args.key_norm, cache.head_dim, lane);
    Prefetch(args.cos + row * half, half, lane);
    Prefetch(args.sin + row * half, half, lane);
  }
  WaitForEarlierKernels();
  HeadPairs pairs;
  LoadPairs(args.heads + row * args.row_stride + column + head * cache.head_dim, half, lane, pairs);
  if (is_query || is_key) {
    const float* norm = is_query ? args.query_norm : args.key_norm;
    if (norm != nullptr) NormPairs(norm, args.epsilon, half, lane, pairs);
    TurnPairs(args.cos + row * half, args.sin + row * half, half, lane, pairs);
  }
  if (is_query) {
    __nv_bfloat16* query = args.queries + (row * args.num_heads + head) * cache.padded_head_dim;
    return StorePairs(pairs, half, cache.padded_head_dim, lane, query, [](int d) { return d; });
  }
  if (!is_early) place = FindPlace(args.rows, row);
  if (!is_key) return StoreValue(args, place.block, head, place.position, pairs, lane);
  StorePairs(pairs, half, cache.padded_head_dim, lane,
             cache.keys + place.block * cache.block_elements() + head * cache.head_elements(),
             [&](int d) { return KvPlanes::ElementOf(place.position, d); });
}

}  // namespace

cudaError_t LaunchPrepareHeads(const PrepareHeadsArgs& args, cudaStream_t stream) {
  constexpr int kThreads = 256;
  const int64_t warps = args.num_rows * (args.num_heads + 2 * args.cache.num_kv_heads);
  return LaunchChained(PrepareHeadsKernel, (warps * 32 + kThreads - 1) / kThreads, kThreads, 0,
                       stream, args);
}

}  // namespace expertile::cuda
