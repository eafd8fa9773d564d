// Heads on their way from the product of queries, keys and values to attention and to the cache.
#include "targets/cuda/kernels/attention.h"
#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/tile_shape.h"

namespace expertile::cuda {
namespace {

// Of a head's elements j and j + D/2, which RoPE turns together, those of a lane: j = 64 i + 2 lane
// + {0, 1} for i from 0 on, in float32. kPairs of them: D <= 64 kPairs.
template <int kPairs>
struct HeadPairs {
  float first[kPairs] = {};
  float second[kPairs] = {};
};

__device__ inline int IndexOf(int i, int lane) { return i / 2 * 64 + 2 * lane + i % 2; }

// Neighbours at once where both halves of a head begin at a whole word.
__device__ inline bool AreWords(int half) { return half % 2 == 0; }

__device__ inline float2 LoadWord(const __nv_bfloat16* word) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(word));
}
__device__ inline float2 LoadWord(const float* word) {
  return *reinterpret_cast<const float2*>(word);
}

// Elements first[j] and second[j] of a lane's j < half; the others are as they were.
template <int kPairs, typename T>
__device__ void LoadPairs(const T* first, const T* second, int half, int lane,
                          HeadPairs<kPairs>& pairs) {
#pragma unroll
  for (int i = 0; i < kPairs; i += 2) {
    const int j = IndexOf(i, lane);
    if (j >= half) continue;
    if (AreWords(half)) {
      const float2 x = LoadWord(first + j);
      const float2 y = LoadWord(second + j);
      pairs.first[i] = x.x;
      pairs.first[i + 1] = x.y;
      pairs.second[i] = y.x;
      pairs.second[i + 1] = y.y;
      continue;
    }
    for (int k = 0; k < 2 && j + k < half; ++k) {
      pairs.first[i + k] = static_cast<float>(first[j + k]);
      pairs.second[i + k] = static_cast<float>(second[j + k]);
    }
  }
}

// Heads side by side: they do not wait for each other's sums.
template <int kHeads, int kPairs>
__device__ void NormHeads(const HeadPairs<kPairs>& weight, float epsilon, int half,
                          HeadPairs<kPairs> (&heads)[kHeads]) {
  float sums[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    sums[h] = 0.0f;
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      sums[h] = fmaf(heads[h].first[i], heads[h].first[i], sums[h]);
      sums[h] = fmaf(heads[h].second[i], heads[h].second[i], sums[h]);
    }
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
#pragma unroll
    for (float& sum : sums) sum += __shfl_xor_sync(0xffffffff, sum, offset);
  }
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    const float inverse = rsqrtf(sums[h] / static_cast<float>(2 * half) + epsilon);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      heads[h].first[i] *= inverse * weight.first[i];
      heads[h].second[i] *= inverse * weight.second[i];
    }
  }
}

// By angles whose cosines are `turn.first`, and the sines `turn.second`. Which product is rounded
// is said here: the compiler would choose for each kernel anew.
template <int kPairs>
__device__ void Turn(const HeadPairs<kPairs>& turn, HeadPairs<kPairs>& pairs) {
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const float x = pairs.first[i];
    const float y = pairs.second[i];
    pairs.first[i] = fmaf(x, turn.first[i], -__fmul_rn(y, turn.second[i]));
    pairs.second[i] = fmaf(y, turn.first[i], __fmul_rn(x, turn.second[i]));
  }
}

// Stores a head's padded elements at place_of(d), which keeps neighbours together.
template <int kPairs, typename PlaceOf>
__device__ void StorePairs(const HeadPairs<kPairs>& pairs, int half, int padded, int lane,
                           __nv_bfloat16* target, PlaceOf place_of) {
#pragma unroll
  for (int i = 0; i < kPairs; i += 2) {
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

template <int kPairs>
__device__ void StoreKey(const KvPlanes& cache, const CachePlace& place, int head,
                         const HeadPairs<kPairs>& pairs, int lane) {
  StorePairs(pairs, cache.head_dim / 2, cache.padded_head_dim, lane,
             cache.keys + place.block * cache.block_elements() + head * cache.head_elements(),
             [&](int d) { return KvPlanes::ElementOf(place.position, d); });
}

// Where the mask is that says which values of a block and head are not finite.
__device__ inline unsigned long long* MaskOf(const KvPlanes& cache, const CachePlace& place,
                                             int head) {
  return &cache.non_finite[place.block * cache.num_kv_heads + head];
}

// `mask`: as it was when the step began, at least in the value's own bit.
template <int kPairs>
__device__ void StoreValue(const KvPlanes& cache, const CachePlace& place, int head,
                           const HeadPairs<kPairs>& pairs, unsigned long long mask, int lane) {
  StorePairs(pairs, cache.head_dim / 2, cache.padded_head_dim, lane,
             cache.values + place.block * cache.block_elements() + head * cache.head_elements(),
             [&](int d) { return KvPlanes::ElementOf(place.position, d); });
  bool is_finite = true;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    is_finite = is_finite && isfinite(pairs.first[i]) && isfinite(pairs.second[i]);
  }
  const bool all_finite = __all_sync(0xffffffff, is_finite);
  if (lane != 0) return;
  const unsigned long long bit = 1ull << place.position;
  if (!all_finite) {
    atomicOr(MaskOf(cache, place, head), bit);
  } else if ((mask & bit) != 0) {
    atomicAnd(MaskOf(cache, place, head), ~bit);
  }
}

// Has values [0, count), which a later load takes, brought to the second-level cache.
__device__ inline void Prefetch(const float* values, int count, int lane) {
  constexpr int kLine = 32;
  if (values == nullptr || lane * kLine >= count) return;
  asm volatile("prefetch.global.L2 [%0];" ::"l"(values + lane * kLine));
}

enum class HeadKind { kQuery, kKey, kValue };

// Heads [first, first + count) of one kind, which a warp prepares.
struct HeadGroup {
  HeadKind kind;
  int first;
  int count;
};

template <int kHeads>
__host__ __device__ int NumGroups(int num_heads) {
  return (num_heads + kHeads - 1) / kHeads;
}
// Of a row, in all.
template <int kHeads>
__host__ __device__ int NumGroups(const PrepareHeadsArgs& args) {
  return NumGroups<kHeads>(args.num_heads) + 2 * NumGroups<kHeads>(args.cache.num_kv_heads);
}

// Group `group` of a row: queries', then keys', then values'.
template <int kHeads>
__device__ HeadGroup FindGroup(const PrepareHeadsArgs& args, int group) {
  const int query_groups = NumGroups<kHeads>(args.num_heads);
  const int key_groups = NumGroups<kHeads>(args.cache.num_kv_heads);
  if (group < query_groups) {
    const int first = group * kHeads;
    return {HeadKind::kQuery, first, min(kHeads, args.num_heads - first)};
  }
  group -= query_groups;
  const bool is_key = group < key_groups;
  const int first = (is_key ? group : group - key_groups) * kHeads;
  return {is_key ? HeadKind::kKey : HeadKind::kValue, first,
          min(kHeads, args.cache.num_kv_heads - first)};
}

// Where a group's first head begins in a row of the product.
__device__ inline int64_t ColumnOf(const PrepareHeadsArgs& args, const HeadGroup& group) {
  const int64_t begin = group.kind == HeadKind::kQuery ? 0
                        : group.kind == HeadKind::kKey ? args.key_column
                                                       : args.value_column;
  return begin + group.first * args.cache.head_dim;
}

// Norm and rotation of a row's heads.
template <int kHeads, int kPairs>
__device__ void Prepare(const PrepareHeadsArgs& args, int64_t row, const float* norm, int lane,
                        HeadPairs<kPairs> (&heads)[kHeads]) {
  const int half = args.cache.head_dim / 2;
  HeadPairs<kPairs> turn;
  LoadPairs(args.cos + row * half, args.sin + row * half, half, lane, turn);
  if (norm != nullptr) {
    HeadPairs<kPairs> weight;
    LoadPairs(norm, norm + half, half, lane, weight);
    NormHeads(weight, args.epsilon, half, heads);
  }
#pragma unroll
  for (HeadPairs<kPairs>& head : heads) Turn(turn, head);
}

// A row's share of the tickets, by thread `index` of its `count`.
__device__ inline void ClearTickets(const PrepareHeadsArgs& args, int64_t row, int index,
                                    int count) {
  const int share = args.cache.num_kv_heads * kMaxSlices;
  for (int i = index; i < share && row * share + i < args.num_tickets; i += count) {
    args.tickets[row * share + i] = 0;
  }
}

constexpr int kMostWarps = 8;  // of a block

// A block for each row, or several; a warp for each kHeads heads, whose loads are under way at the
// same time.
template <int kHeads, int kPairs>
__global__ __launch_bounds__(32 * kMostWarps) void PrepareHeadsKernel(
    const __grid_constant__ PrepareHeadsArgs args) {
  LetNextKernelBegin();
  const KvPlanes& cache = args.cache;
  const int64_t row = blockIdx.x;
  const int warp = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int num_groups = NumGroups<kHeads>(args);
  if (warp >= num_groups) return;
  const HeadGroup group = FindGroup<kHeads>(args, warp);
  const int half = cache.head_dim / 2;
  const float* norm = group.kind == HeadKind::kQuery ? args.query_norm : args.key_norm;
  // Of few rows what is not made by earlier kernels is fetched while they run: a step's inputs are
  // there before its first kernel. Of many rows other warps hide the wait, and fetching only costs.
  constexpr bool kIsEarly = kHeads == 1;
  CachePlace place{};
  unsigned long long early_mask = 0;
  if (kIsEarly) {
    if (group.kind != HeadKind::kQuery) place = FindPlace(args.rows, row);
    if (group.kind == HeadKind::kValue) early_mask = __ldcg(MaskOf(cache, place, group.first));
    Prefetch(norm, cache.head_dim, lane);
    Prefetch(args.cos + row * half, half, lane);
    Prefetch(args.sin + row * half, half, lane);
  }
  WaitForEarlierKernels();
  ClearTickets(args, row, warp * 32 + lane, num_groups * 32);
  if (!kIsEarly && group.kind != HeadKind::kQuery) place = FindPlace(args.rows, row);
  const __nv_bfloat16* begin = args.heads + row * args.row_stride + ColumnOf(args, group);
  HeadPairs<kPairs> heads[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    const __nv_bfloat16* head = begin + min(h, group.count - 1) * cache.head_dim;
    LoadPairs(head, head + half, half, lane, heads[h]);
  }
  if (group.kind != HeadKind::kValue) Prepare(args, row, norm, lane, heads);
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    if (h >= group.count) break;
    const int head = group.first + h;
    if (group.kind == HeadKind::kKey) {
      StoreKey(cache, place, head, heads[h], lane);
    } else if (group.kind == HeadKind::kValue) {
      const auto mask = kIsEarly ? early_mask : __ldcg(MaskOf(cache, place, head));
      StoreValue(cache, place, head, heads[h], mask, lane);
    } else {
      StorePairs(heads[h], half, cache.padded_head_dim, lane,
                 args.queries + (row * args.num_heads + head) * cache.padded_head_dim,
                 [](int d) { return d; });
    }
  }
}

template <int kHeads, int kPairs>
cudaError_t Launch(const PrepareHeadsArgs& args, cudaStream_t stream) {
  const int warps = NumGroups<kHeads>(args);
  const int blocks = (warps + kMostWarps - 1) / kMostWarps;  // of a row
  const dim3 grid(static_cast<unsigned>(args.num_rows), static_cast<unsigned>(blocks));
  return LaunchChained(PrepareHeadsKernel<kHeads, kPairs>, grid, (warps + blocks - 1) / blocks * 32,
                       0, stream, args);
}

// Few rows have a warp for each head.
template <int kPairs>
cudaError_t LaunchPairs(const PrepareHeadsArgs& args, cudaStream_t stream) {
  if (args.num_rows <= kFewRowsTile.rows) return Launch<1, kPairs>(args, stream);
  return Launch<8 / kPairs, kPairs>(args, stream);
}

}  // namespace

cudaError_t LaunchPrepareHeads(const PrepareHeadsArgs& args, cudaStream_t stream) {
  if (args.cache.head_dim <= 128) return LaunchPairs<2>(args, stream);
  return LaunchPairs<4>(args, stream);
}

}  // namespace expertile::cuda
