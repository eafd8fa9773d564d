// Attention over blocks of 64 positions: a warp fetches keys and values, warpgroups of 64 (row,
// head) pairs each multiply and take the softmax as they go. A pair's result depends on its own
// query and on the blocks it sees alone: prefill and decode give the same bits, whatever shares
// the tile.
#include "targets/cuda/kernels/attention.h"
#include "targets/cuda/kernels/attention_few_rows.h"
#include "targets/cuda/kernels/attention_pairs.cuh"
#include "targets/cuda/kernels/barriers.cuh"
#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/softmax.cuh"
#include "targets/cuda/kernels/wgmma.cuh"

namespace expertile::cuda {
namespace {

constexpr int kWarpgroup = 128;  // threads

template <int kHeadDim, int kWarpgroups>
struct Shape {
  static constexpr int kStages = kHeadDim == 256 ? 2 : 3;
  static constexpr int kBytes = kHeadDim * kKeysPerBlock * 2;  // keys, or values, of a block
  // Sums of the chunks before the one that is being summed, [kHeadDim / 8][threads] of four.
  static constexpr int kTotalsBegin = kStages * 2 * kBytes;
  static constexpr int kBarriersBegin = kTotalsBegin + kWarpgroups * 64 * kHeadDim * 4;
  static constexpr int kThreads = (kWarpgroups + 1) * kWarpgroup;
  static constexpr int kSharedBytes = kBarriersBegin + 1024 + 4 * kStages * 8;
};

struct Barriers {
  uint64_t* full_keys;  // each of the stages
  uint64_t* full_values;
  uint64_t* empty_keys;
  uint64_t* empty_values;
};

template <int kHeadDim, int kStages>
__device__ void FetchBlocks(const AttentionArgs& args, const int32_t* blocks, BlockRange range,
                            int head, uint32_t stages, const Barriers& barriers) {
  constexpr int kBytes = kHeadDim * kKeysPerBlock * 2;
  const KvPlanes& cache = args.cache;
  int stage = 0;
  uint32_t round = 0;
  for (int b = range.begin; b < range.end; ++b) {
    const int64_t offset = blocks[b] * cache.block_elements() + head * cache.head_elements();
    const uint32_t target = stages + stage * 2 * kBytes;
    Wait(&barriers.empty_keys[stage], round ^ 1);
    ArriveExpecting(&barriers.full_keys[stage], kBytes);
    BulkCopy(target, cache.keys + offset, kBytes, &barriers.full_keys[stage]);
    Wait(&barriers.empty_values[stage], round ^ 1);
    ArriveExpecting(&barriers.full_values[stage], kBytes);
    BulkCopy(target + kBytes, cache.values + offset, kBytes, &barriers.full_values[stage]);
    if (++stage == kStages) {
      stage = 0;
      round ^= 1;
    }
  }
}

__device__ SoftmaxState BeginSoftmax(const AttentionArgs& args, const Pairs& pairs, float factor) {
  SoftmaxState state = EmptySoftmax();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (args.sinks == nullptr || pairs.row[i] < 0) continue;
    BeginWithSink(args.sinks[pairs.head[i]], args.scale, factor, state.largest[i], state.sum[i]);
  }
  return state;
}

// Values that are not finite become zeros in shared memory, since a probability of 0 would not make
// them so; the pairs that see them are poisoned. Both warpgroups write the same zeros, by the lanes
// that let the stage go.
template <int kHeadDim>
__device__ void ClearNonFinite(unsigned long long mask, int first_key, uint32_t values,
                               int warpgroup, const Pairs& pairs, SoftmaxState& state) {
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  for (int key = 0; key < kKeysPerBlock; ++key) {
    if ((mask >> key & 1) == 0) continue;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int position = first_key + key;
      if (position >= pairs.seen[i].begin && position < pairs.seen[i].end) {
        state.is_poisoned[i] = true;
      }
    }
    if (thread % 32 != 0) continue;
    for (int d = 2 * (thread / 32); d < kHeadDim; d += 2 * (kWarpgroup / 32)) {
      const auto offset = static_cast<uint32_t>(KvPlanes::ElementOf(key, d) * 2);
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(values + offset), "r"(0) : "memory");
    }
  }
  FenceAsyncProxy();
  SyncThreads(1 + warpgroup, kWarpgroup);
}

template <int kCount>
__device__ inline void Rescale(float (&sums)[kCount], const float (&rescale)[2]) {
#pragma unroll
  for (int e = 0; e < kCount; ++e) sums[e] *= rescale[e % 4 / 2];
}

// A thread's two pairs' queries as first operands of products over 16 of the depth each.
template <int kHeadDim>
__device__ inline void LoadQueries(const AttentionArgs& args, const Pairs& pairs,
                                   uint32_t (&queries)[kHeadDim / 16][4]) {
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool is_there = pairs.row[i] >= 0;
    const int64_t pair =
        is_there ? static_cast<int64_t>(pairs.row[i]) * args.num_heads + pairs.head[i] : 0;
    const auto* words = reinterpret_cast<const uint32_t*>(args.queries + pair * kHeadDim);
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
      queries[step][i] = is_there ? words[step * 8 + q] : 0;
      queries[step][i + 2] = is_there ? words[step * 8 + 4 + q] : 0;
    }
  }
}

template <int kHeadDim>
__device__ void MultiplyKeys(const uint32_t (&queries)[kHeadDim / 16][4], uint32_t keys,
                             float (&scores)[32]) {
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    const uint64_t matrix = SwizzledMatrix(keys + step / 4 * (kKeysPerBlock * 128));
    MultiplyRegisters<64>(scores, queries[step], Advanced(matrix, step % 4 * 32), step > 0);
  }
}

template <int kHeadDim>
__device__ void MultiplyValues(const uint32_t (&packed)[4][4], uint32_t values,
                               float (&sums)[kHeadDim / 2], bool keeps) {
  const uint64_t matrix = SwizzledMatrix(values, kKeysPerBlock * 128);
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    MultiplyTransposed<kHeadDim>(sums, packed[step], Advanced(matrix, step * 16 * 128),
                                 keeps || step > 0);
  }
}

template <int kHeadDim>
__device__ void StoreMixed(const AttentionArgs& args, const Pairs& pairs, const SoftmaxState& total,
                           const float (&sums)[kHeadDim / 2]) {
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (pairs.row[i] < 0) continue;
    const float inverse = 1.0f / total.sum[i];
    const int head_dim = args.cache.head_dim;
    __nv_bfloat16* mixed = args.mixed + pairs.row[i] * args.mixed_stride + pairs.head[i] * head_dim;
#pragma unroll
    for (int block = 0; block < kHeadDim / 8; ++block) {
      const int d = block * 8 + 2 * q;
      if (d >= head_dim) continue;
      const float* s = &sums[block * 4 + 2 * i];
      *reinterpret_cast<uint32_t*>(mixed + d) = PackPair(s[0] * inverse, s[1] * inverse);
    }
  }
}

template <int kHeadDim>
__device__ void StorePartial(const AttentionArgs& args, int64_t tile_and_head, int chunk,
                             const SoftmaxState& state, const float (&sums)[kHeadDim / 2]) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float* partial =
        PartialOf(args, tile_and_head, chunk, thread / 32 * 16 + thread % 32 / 4 + 8 * i);
    const float sum = ChunkSum(state, i);
#pragma unroll
    for (int block = 0; block < kHeadDim / 8; ++block) {
      const float* s = &sums[block * 4 + 2 * i];
      *reinterpret_cast<float2*>(partial + block * 8 + 2 * (thread % 4)) = {s[0], s[1]};
    }
    if (thread % 4 == 0) *reinterpret_cast<float2*>(partial + kHeadDim) = {state.largest[i], sum};
  }
}

// A stage of the ring, and the parity of its barriers' round.
template <int kStages>
struct Place {
  int stage = 0;
  uint32_t round = 0;

  __device__ Place Next() const {
    return stage + 1 < kStages ? Place{stage + 1, round} : Place{0, round ^ 1};
  }
};

// A block of threads' work: a tile, a head of keys, and the blocks of keys.
struct Work {
  AttentionTile tile;
  int64_t tile_and_head;
  int kv_head;
  int chunk;  // the only one that it takes; -1: all
  const int32_t* blocks;
  BlockRange range;
};

// The products of a chunk's ends, which have no other beside them.
template <int kHeadDim>
__device__ inline void MultiplyKeysAlone(const uint32_t (&queries)[kHeadDim / 16][4], uint32_t keys,
                                         float (&scores)[32]) {
  PinSums(scores);
  BeginProducts();
  MultiplyKeys<kHeadDim>(queries, keys, scores);
  CommitProducts();
  WaitForProducts<0>();
  PinSums(scores);
}
template <int kHeadDim>
__device__ inline void MultiplyValuesAlone(const uint32_t (&packed)[4][4], uint32_t values,
                                           float (&sums)[kHeadDim / 2], bool keeps) {
  PinSums(sums);
  BeginProducts();
  MultiplyValues<kHeadDim>(packed, values, sums, keeps);
  CommitProducts();
  WaitForProducts<0>();
  PinSums(sums);
}

// Frees a stage: one thread of a warp speaks for it.
__device__ inline void Release(uint64_t* barrier) {
  if (threadIdx.x % 32 == 0) Arrive(barrier);
}

// Waits for the values of block `b`, and clears those that are not finite.
template <int kHeadDim, int kStages>
__device__ inline void AwaitValues(const AttentionArgs& args, const Pairs& pairs, const Work& work,
                                   int b, const Place<kStages>& place, uint32_t values,
                                   const Barriers& barriers, SoftmaxState& state) {
  Wait(&barriers.full_values[place.stage], place.round);
  const int64_t head =
      static_cast<int64_t>(work.blocks[b]) * args.cache.num_kv_heads + work.kv_head;
  const unsigned long long mask = args.cache.non_finite[head];
  if (mask == 0) return;
  ClearNonFinite<kHeadDim>(mask, b * kKeysPerBlock, values,
                           static_cast<int>(threadIdx.x) / kWarpgroup, pairs, state);
}

// Rows r and r + 8 of this thread's warpgroup's 64.
__device__ inline Pairs FindThreadsPairs(const AttentionArgs& args, const Work& work) {
  const auto thread = static_cast<int>(threadIdx.x);
  return FindPairs(args, work.tile, work.kv_head, thread / kWarpgroup * kPairsPerWarpgroup,
                   kPairsPerWarpgroup, thread / 32 * 16 + thread % 32 / 4);
}

// One warpgroup's pairs. While the values of a block are multiplied, the next block's keys are, and
// its softmax taken.
template <int kHeadDim, int kWarpgroups>
__device__ void MixPairs(const AttentionArgs& args, const Work& work, uint32_t stages,
                         Totals<kHeadDim> totals, const Barriers& barriers) {
  using S = Shape<kHeadDim, kWarpgroups>;
  const Pairs pairs = FindThreadsPairs(args, work);
  const float factor = args.scale * kLog2E;
  SoftmaxState total = BeginSoftmax(args, pairs, factor);
  uint32_t queries[kHeadDim / 16][4];
  LoadQueries<kHeadDim>(args, pairs, queries);
  float sums[kHeadDim / 2];  // of a chunk; its first product starts them
  float scores[32];
  uint32_t packed[4][4];
  float rescale[2];
  Place<S::kStages> place;
  for (int first = work.range.begin; first < work.range.end;) {  // chunks
    const int end = min(work.range.end, (first / kBlocksPerChunk + 1) * kBlocksPerChunk);
    Wait(&barriers.full_keys[place.stage], place.round);
    MultiplyKeysAlone<kHeadDim>(queries, stages + place.stage * 2 * S::kBytes, scores);
    Release(&barriers.empty_keys[place.stage]);
    MaskIfNeeded(pairs, first, scores);
    SoftmaxState state = EmptySoftmax();
    TakeSoftmax(scores, factor, state, rescale);
    PackProbabilities(scores, packed);
    for (int b = first + 1; b < end; ++b) {
      const Place<S::kStages> before = place;
      place = place.Next();
      const uint32_t values = stages + before.stage * 2 * S::kBytes + S::kBytes;
      AwaitValues<kHeadDim>(args, pairs, work, b - 1, before, values, barriers, state);
      Wait(&barriers.full_keys[place.stage], place.round);
      PinSums(scores);
      PinSums(sums);
      BeginProducts();
      MultiplyKeys<kHeadDim>(queries, stages + place.stage * 2 * S::kBytes, scores);
      CommitProducts();
      MultiplyValues<kHeadDim>(packed, values, sums, b > first + 1);
      CommitProducts();
      WaitForProducts<1>();
      PinSums(scores);
      Release(&barriers.empty_keys[place.stage]);
      MaskIfNeeded(pairs, b, scores);
      TakeSoftmax(scores, factor, state, rescale);
      WaitForProducts<0>();
      PinSums(sums);
      Release(&barriers.empty_values[before.stage]);
      Rescale(sums, rescale);
      PackProbabilities(scores, packed);
    }
    const uint32_t values = stages + place.stage * 2 * S::kBytes + S::kBytes;
    AwaitValues<kHeadDim>(args, pairs, work, end - 1, place, values, barriers, state);
    MultiplyValuesAlone<kHeadDim>(packed, values, sums, end > first + 1);
    Release(&barriers.empty_values[place.stage]);
    place = place.Next();
    first = end;
    if (work.chunk >= 0) {
      return StorePartial<kHeadDim>(args, work.tile_and_head, work.chunk, state, sums);
    }
    totals.Add(state, factor, total, sums);
    if (end < work.range.end) totals.Keep(sums);
  }
  StoreMixed<kHeadDim>(args, pairs, total, sums);
}

// The last rows see most keys: their tiles begin first. A tile is cut into as many parts as its
// pairs need warpgroups beyond a block's.
template <int kWarpgroups>
__device__ Work FindWork(const AttentionArgs& args) {
  constexpr int kPairs = kWarpgroups * kPairsPerWarpgroup;
  const int kv_heads = args.cache.num_kv_heads;
  const int parts = args.pairs_per_tile / kPairs;
  const int chunks = max(1, args.shared_chunks);
  int index = static_cast<int>(blockIdx.x);
  Work work;
  work.chunk = args.shared_chunks == 0 ? -1 : index % chunks;
  index /= chunks;
  work.kv_head = index % kv_heads;
  index /= kv_heads;
  const int tile = args.num_tiles - 1 - index / parts;
  work.tile = args.tiles[tile];
  work.tile_and_head = static_cast<int64_t>(tile) * kv_heads + work.kv_head;
  const int part = index % parts;
  work.tile.first_pair += part * kPairs;
  work.tile.num_pairs = min(kPairs, work.tile.num_pairs - part * kPairs);
  work.blocks =
      args.rows.blocks + args.rows.table_offsets[args.rows.sequences[work.tile.first_row]];
  work.range = {0, 0};
  if (work.tile.num_pairs > 0) work.range = BlocksOf(args, work.tile);
  if (work.chunk >= 0) {
    work.range = {max(work.range.begin, work.chunk * kBlocksPerChunk),
                  min(work.range.end, (work.chunk + 1) * kBlocksPerChunk)};
  }
  return work;
}

template <int kHeadDim, int kWarpgroups>
__global__ __launch_bounds__(Shape<kHeadDim, kWarpgroups>::kThreads,
                             1) void AttentionKernel(const __grid_constant__ AttentionArgs args) {
  using S = Shape<kHeadDim, kWarpgroups>;
  extern __shared__ std::byte dynamic[];
  const uint32_t base = SharedAddress(dynamic);
  const uint32_t stages = (base + 1023) / 1024 * 1024;
  std::byte* shared = dynamic + (stages - base);
  auto* words = reinterpret_cast<uint64_t*>(shared + S::kBarriersBegin);
  const Barriers barriers{words, words + S::kStages, words + 2 * S::kStages,
                          words + 3 * S::kStages};
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kStages; ++i) {
      InitBarrier(&barriers.full_keys[i], 1);
      InitBarrier(&barriers.full_values[i], 1);
      InitBarrier(&barriers.empty_keys[i], kWarpgroups * 4);
      InitBarrier(&barriers.empty_values[i], kWarpgroups * 4);
    }
    FenceBarrierInit();
  }
  __syncthreads();
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const Work work = FindWork<kWarpgroups>(args);
  if (work.range.begin >= work.range.end) return;
  if (threadIdx.x >= kWarpgroups * kWarpgroup) {
    if constexpr (kWarpgroups == 2) GiveRegisters<24>();
    if (threadIdx.x == kWarpgroups * kWarpgroup) {
      FetchBlocks<kHeadDim, S::kStages>(args, work.blocks, work.range, work.kv_head, stages,
                                        barriers);
    }
  } else {
    if constexpr (kWarpgroups == 2) TakeRegisters<240>();
    const Totals<kHeadDim> totals{reinterpret_cast<float4*>(shared + S::kTotalsBegin) + threadIdx.x,
                                  kWarpgroups * kWarpgroup};
    MixPairs<kHeadDim, kWarpgroups>(args, work, stages, totals, barriers);
  }
}

// A warp for each pair of each tile and key head: its chunks put together in order.
__global__ void PutChunksTogetherKernel(const AttentionArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int pair = static_cast<int>(threadIdx.x) / 32 +
                   static_cast<int>(blockIdx.y) * static_cast<int>(blockDim.x) / 32;
  const int kv_heads = args.cache.num_kv_heads;
  const int64_t tile_and_head = blockIdx.x;
  const AttentionTile tile = args.tiles[tile_and_head / kv_heads];
  if (pair >= tile.num_pairs) return;
  const int group = args.num_heads / kv_heads;
  const int row = tile.first_row + (tile.first_pair + pair) / group;
  const int head =
      static_cast<int>(tile_and_head % kv_heads) * group + (tile.first_pair + pair) % group;
  const BlockRange range = BlocksOf(args, tile);
  const float factor = args.scale * kLog2E;
  float largest = -INFINITY;
  float sum = 0.0f;
  if (args.sinks != nullptr) BeginWithSink(args.sinks[head], args.scale, factor, largest, sum);
  constexpr int kMaxPairsOfElements = 4;  // of a lane: 256 elements in all
  float2 sums[kMaxPairsOfElements] = {};
  for (int chunk = range.begin / kBlocksPerChunk; chunk * kBlocksPerChunk < range.end; ++chunk) {
    const float* partial = PartialOf(args, tile_and_head, chunk, pair);
    const float2 end = *reinterpret_cast<const float2*>(partial + args.cache.padded_head_dim);
    const Factors factors = PutTogether(largest, sum, end.x, end.y, factor);
#pragma unroll
    for (int i = 0; i < kMaxPairsOfElements; ++i) {
      const int d = 2 * (lane + 32 * i);
      if (d >= args.cache.padded_head_dim) break;
      const float2 part = *reinterpret_cast<const float2*>(partial + d);
      sums[i] = {PutTogether(sums[i].x, part.x, factors), PutTogether(sums[i].y, part.y, factors)};
    }
  }
  const float inverse = 1.0f / sum;
  __nv_bfloat16* mixed = args.mixed + row * args.mixed_stride + head * args.cache.head_dim;
#pragma unroll
  for (int i = 0; i < kMaxPairsOfElements; ++i) {
    const int d = 2 * (lane + 32 * i);
    if (d >= args.cache.head_dim) break;
    *reinterpret_cast<uint32_t*>(mixed + d) = PackPair(sums[i].x * inverse, sums[i].y * inverse);
  }
}

template <int kHeadDim, int kWarpgroups>
cudaError_t Launch(const AttentionArgs& args, cudaStream_t stream) {
  using S = Shape<kHeadDim, kWarpgroups>;
  constexpr auto* kKernel = AttentionKernel<kHeadDim, kWarpgroups>;
  const cudaError_t allowed = AllowSharedBytes<kKernel, S::kSharedBytes>();
  if (allowed != cudaSuccess) return allowed;
  const int64_t blocks = static_cast<int64_t>(args.num_tiles) * args.cache.num_kv_heads *
                         (args.pairs_per_tile / (kWarpgroups * kPairsPerWarpgroup)) *
                         (args.shared_chunks == 0 ? 1 : args.shared_chunks);
  return LaunchChained(kKernel, blocks, S::kThreads, S::kSharedBytes, stream, args);
}

cudaError_t LaunchTiles(const AttentionArgs& args, cudaStream_t stream) {
  const bool is_wide = args.pairs_per_tile == 2 * kPairsPerWarpgroup;
  switch (args.cache.padded_head_dim) {
    case 64:
      return is_wide ? Launch<64, 2>(args, stream) : Launch<64, 1>(args, stream);
    case 128:
      return is_wide ? Launch<128, 2>(args, stream) : Launch<128, 1>(args, stream);
    case 256:
      return Launch<256, 1>(args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

cudaError_t LaunchAttention(const AttentionArgs& args, cudaStream_t stream) {
  if (args.tickets != nullptr) return LaunchFewRowsAttention(args, stream);
  const cudaError_t error = LaunchTiles(args, stream);
  if (error != cudaSuccess || args.shared_chunks == 0) return error;
  constexpr int kPairsPerBlock = 8;
  return LaunchChained(PutChunksTogetherKernel,
                       dim3(static_cast<unsigned>(args.num_tiles * args.cache.num_kv_heads),
                            kPairsPerWarpgroup / kPairsPerBlock),
                       kPairsPerBlock * 32, 0, stream, args);
}

}  // namespace expertile::cuda
