// Attention of few rows (decode), where all that attention.cu does block by block one after another
// is done side by side. A cluster of blocks of threads takes a chunk of a tile and head of keys,
// each of them 32 of the head dimension. All compute the scores of some of the chunk's blocks and
// take their softmax, send the probabilities to each other, and sum the values of their slice in
// order. Only these sums and the running largest score depend on the block before. The arithmetic
// is attention.cu's, bit for bit.
#include "targets/cuda/kernels/attention_chunks.cuh"
#include "targets/cuda/kernels/attention_few_rows.h"
#include "targets/cuda/kernels/attention_scores.cuh"
#include "targets/cuda/kernels/barriers.cuh"
#include "targets/cuda/kernels/cluster.cuh"
#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/softmax.cuh"

namespace expertile::cuda {
namespace {

using namespace few_pairs;  // NOLINT(google-build-using-namespace)

constexpr int kPlaneBytes = kKeysPerChunk * 16 + 32;  // parts' planes begin in different banks

// What a block's warps share of a chunk's blocks and pairs. All of the cluster's blocks write
// `probabilities`, `sums`, `largest` and `rescale` of all of them.
struct Shared {
  // As a product's first operand has them: of the first pairs, then of the second. Until they are
  // there, the scores of this block's own blocks of keys.
  uint2 probabilities[2][kBlocksPerChunk][4][32];
  float sums[kBlocksPerChunk][kFewPairs][4];  // each of four threads'
  float largest[kBlocksPerChunk][kFewPairs];  // of the block alone
  float rescale[kBlocksPerChunk][kFewPairs];
  float2 ends[kFewPairs];  // of the chunk: the largest score, the sum
  int is_poisoned[kFewPairs];
  int num_done;  // chunks before this one

  // Of the block's own blocks of keys.
  __device__ float2* ScoresOf(int own) {
    return reinterpret_cast<float2*>(probabilities) + own * 2 * kHalfOfScores;
  }
};

template <int kHeadDim>
struct Layout {
  static_assert(ScoreShape<kHeadDim>::kBlocks * 2 * kHalfOfScores * sizeof(float2) <=
                sizeof(Shared::probabilities));
  static constexpr int kQueriesBegin = (sizeof(Shared) + 15) / 16 * 16;
  static constexpr int kValuesBegin = kQueriesBegin + kFewPairs * kQueryBytes<kHeadDim>;
  static constexpr int kValueBytes = kParts * kPlaneBytes;
  static_assert(sizeof(Parts) <= kValueBytes);  // which are put together where the values were
  static constexpr int kBytes = kValuesBegin + kValueBytes;
};

// Values of the chunk's blocks [begin, end) to shared memory: for each 8 of the slice the keys' 16
// bytes.
__device__ void FetchValues(const AttentionArgs& args, const ChunkWork& work, int begin, int end,
                            uint32_t values) {
  const int thread = static_cast<int>(threadIdx.x);
  const int position = thread / kParts;
  const int part = thread % kParts;
  static_assert(kThreads == kKeysPerBlock * kParts);
  const __nv_bfloat16* head = args.cache.values + work.at.kv_head * args.cache.head_elements() +
                              KvPlanes::ElementOf(position, work.slice * kSlice + part * 8);
  const uint32_t target = values + part * kPlaneBytes + position * 16;
#pragma unroll 2
  for (int b = begin; b < end; ++b) {
    CopyChunk(target + b * kKeysPerBlock * 16,
              head + work.BlockAt(b) * args.cache.block_elements());
  }
}

// Has a block's keys of this warp and its values of the slice, which this step writes in part,
// brought to the second-level cache meanwhile.
template <int kHeadDim>
__device__ void PrefetchWritten(const AttentionArgs& args, const ChunkWork& work,
                                const __nv_bfloat16* keys, bool has_keys) {
  constexpr int kPlane = 64 * kKeysPerBlock;  // elements
  const bool speaks = threadIdx.x % 32 == 0;
  for (int plane = 0; plane < kHeadDim / 64; ++plane) {
    if (!speaks || !has_keys) break;
    PrefetchToL2(keys + plane * kPlane, ScoreShape<kHeadDim>::kTiles * 8 * 128);
  }
#pragma unroll 1
  for (int b = work.CountEarly(); b < work.count(); ++b) {
    const __nv_bfloat16* values = args.cache.values +
                                  work.BlockAt(b) * args.cache.block_elements() +
                                  work.at.kv_head * args.cache.head_elements();
    if (threadIdx.x == 0) PrefetchToL2(values + work.slice * kSlice / 64 * kPlane, kPlane * 2);
  }
}

// Which values of the chunk's lane-th block are not finite.
__device__ unsigned long long MaskOfLane(const AttentionArgs& args, const ChunkWork& work) {
  if (static_cast<int>(threadIdx.x) % 32 >= work.count()) return 0;
  return __ldcg(args.cache.non_finite + int64_t{work.lanes_block} * args.cache.num_kv_heads +
                work.at.kv_head);
}

// Values that are not finite become zeros, since a probability of 0 would not make them so; the
// pairs that see them are poisoned. A warp takes every so-many-th block.
__device__ void ClearNonFinite(const ChunkWork& work, const Pairs& pairs,
                               unsigned long long mask_of_lane, uint32_t values, Shared& shared) {
  if (__all_sync(0xffffffff, mask_of_lane == 0)) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
  for (int b = static_cast<int>(threadIdx.x) / 32; b < work.count(); b += kWarps) {
    const unsigned long long mask = __shfl_sync(0xffffffff, mask_of_lane, b);
#pragma unroll 1
    for (int key = 0; key < kKeysPerBlock; ++key) {
      if ((mask >> key & 1) == 0) continue;
      const int position = (work.range.begin + b) * kKeysPerBlock + key;
      for (int i = 0; i < 2; ++i) {
        if (position < pairs.seen[i].begin || position >= pairs.seen[i].end) continue;
        if (lane % 4 == 0) shared.is_poisoned[lane / 4 + 8 * i] = 1;
      }
      const uint32_t place = (b * kKeysPerBlock + key) * 16;
      if (lane < 4 * kParts) {
        asm volatile(
            "st.shared.b32 [%0], %1;" ::"r"(values + lane / 4 * kPlaneBytes + place + lane % 4 * 4),
            "r"(0)
            : "memory");
      }
    }
  }
}

// A block's scores, as MaskScores has them.
__device__ inline void LoadScores(const float2* scores, bool are_many, float (&loaded)[32]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const float2 first = scores[j * 32 + lane];
    const float2 second = are_many ? scores[kHalfOfScores + j * 32 + lane] : float2{0.0f, 0.0f};
    loaded[4 * j] = first.x;
    loaded[4 * j + 1] = first.y;
    loaded[4 * j + 2] = second.x;
    loaded[4 * j + 3] = second.y;
  }
}

// Sends what the four threads of a pair have alike to all of the cluster's blocks.
template <int kSlices>
__device__ inline void SendAlike(float& place, float value) {
  const uint32_t address = SharedAddress(&place);
  for (int rank = static_cast<int>(threadIdx.x) % 4; rank < kSlices; rank += 4) {
    StoreToPeer(PeerAddress(address, rank), value);
  }
}

// The softmax of the chunk's `index`-th block, once all blocks' largest scores are there.
template <int kSlices>
__device__ void TakeBlock(int index, bool are_many, float factor, float (&scores)[32],
                          Shared& shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (i == 1 && !are_many) break;
    const int pair = lane / 4 + 8 * i;
    float before = -INFINITY;
#pragma unroll
    for (int b = 0; b < kBlocksPerChunk - 1; ++b) {
      if (b < index) before = fmaxf(before, shared.largest[b][pair]);
    }
    const float largest = fmaxf(before, shared.largest[index][pair]);
    const float sum = TakeProbabilities(scores, i, largest, factor);
    SendAlike<kSlices>(shared.rescale[index][pair], RescaleFactor(before, largest, factor));
    const uint32_t place = SharedAddress(&shared.sums[index][pair][lane % 4]);
    for (int rank = 0; rank < kSlices; ++rank) StoreToPeer(PeerAddress(place, rank), sum);
  }
  uint32_t packed[4][4];
  PackProbabilities(scores, packed);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (i == 1 && !are_many) break;
    const uint32_t place = SharedAddress(&shared.probabilities[i][index][0][lane]);
    for (int rank = 0; rank < kSlices; ++rank) {
      const uint32_t target = PeerAddress(place, rank);
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        StoreToPeer(target + step * 32 * static_cast<uint32_t>(sizeof(uint2)),
                    uint2{packed[step][i], packed[step][i + 2]});
      }
    }
  }
}

// The softmaxes of the chunk's blocks whose scores this block of threads has, a warp each; and,
// between two waits for each other, once all values are there, the clearing of those that are not
// finite.
template <int kHeadDim>
__device__ void TakeBlocks(const AttentionArgs& args, const ChunkWork& work, const Pairs& pairs,
                           unsigned long long mask_of_lane, uint32_t values, Shared& shared) {
  using S = ScoreShape<kHeadDim>;
  static_assert(S::kBlocks <= kWarps);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int index = warp * S::kSlices + work.slice;
  const bool takes = warp < S::kBlocks && index < work.count();
  const bool are_many = work.at.AreMany();
  float scores[32];
  if (takes) {
    LoadScores(shared.ScoresOf(warp), are_many, scores);
    MaskIfNeeded(pairs, work.range.begin + index, scores);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (i == 1 && !are_many) break;
      SendAlike<S::kSlices>(shared.largest[index][lane / 4 + 8 * i],
                            LargestScore(scores, i, -INFINITY));
    }
  }
  CommitCopies();
  WaitForCopies<0>();
  SyncCluster();
  ClearNonFinite(work, pairs, mask_of_lane, values, shared);
  if (takes) TakeBlock<S::kSlices>(index, are_many, args.scale * kLog2E, scores, shared);
  SyncCluster();
}

// A block's probabilities, its values of 8 of the head dimension as second operands of products
// over 32 keys each, and what the sums before are multiplied by.
struct BlockOperands {
  uint2 probabilities[2][4];
  uint32_t values[2][4];
  float rescale[2];
};

__device__ inline void LoadBlock(int index, bool are_many, uint32_t values, const Shared& shared,
                                 BlockOperands& block) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(block.values[i][0]), "=r"(block.values[i][1]), "=r"(block.values[i][2]),
                   "=r"(block.values[i][3])
                 : "r"(values + (index * kKeysPerBlock + 32 * i + lane) * 16)
                 : "memory");
    const bool is_there = i == 0 || are_many;
    block.rescale[i] = is_there ? shared.rescale[index][lane / 4 + 8 * i] : 0.0f;
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      block.probabilities[i][step] =
          is_there ? shared.probabilities[i][index][step][lane] : uint2{0, 0};
    }
  }
}

__device__ inline void MultiplyBlock(const BlockOperands& block, bool is_first, float (&sums)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    if (!is_first) sums[e] *= block.rescale[e / 2];
  }
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const uint2& first = block.probabilities[0][step];
    const uint2& second = block.probabilities[1][step];
    const uint32_t(&matrices)[4] = block.values[step / 2];
    MultiplyAdd(first.x, second.x, first.y, second.y, matrices[step % 2 * 2],
                matrices[step % 2 * 2 + 1], sums);
  }
}

// The blocks' values summed in order, of a warp's 8 of the slice.
__device__ void SumValues(const ChunkWork& work, uint32_t values, const Shared& shared,
                          float (&sums)[4]) {
  const uint32_t mine = values + threadIdx.x / 32 * kPlaneBytes;
  const bool are_many = work.at.AreMany();
  const int count = work.count();
  BlockOperands operands[2];
  LoadBlock(0, are_many, mine, shared, operands[0]);
  for (int block = 0; block < count; block += 2) {
    if (block + 1 < count) LoadBlock(block + 1, are_many, mine, shared, operands[1]);
    MultiplyBlock(operands[0], block == 0, sums);
    if (block + 1 >= count) break;
    if (block + 2 < count) LoadBlock(block + 2, are_many, mine, shared, operands[0]);
    MultiplyBlock(operands[1], false, sums);
  }
}

// The softmax of all of the chunk's blocks, but for what they are the softmax of. By one warp.
__device__ void SumSoftmax(const ChunkWork& work, Shared& shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  SoftmaxState state = EmptySoftmax();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (i == 1 && !work.at.AreMany()) break;
    const int pair = lane / 4 + 8 * i;
#pragma unroll
    for (int block = 0; block < kBlocksPerChunk; ++block) {
      if (block >= work.count()) break;
      state.largest[i] = fmaxf(state.largest[i], shared.largest[block][pair]);
      state.sum[i] =
          fmaf(state.sum[i], shared.rescale[block][pair], shared.sums[block][pair][lane % 4]);
    }
    state.is_poisoned[i] = shared.is_poisoned[pair] != 0;
    const float sum = ChunkSum(state, i);
    if (lane % 4 == 0) shared.ends[pair] = {state.largest[i], sum};
  }
}

// The chunk's values summed and its softmax, and the way of both. `value_bytes` is the memory at
// `values`.
__device__ void FinishChunk(const AttentionArgs& args, const ChunkWork& work, const Pairs& pairs,
                            uint32_t values, std::byte* value_bytes, Shared& shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  float sums[4] = {};
  if (warp < kParts) SumValues(work, values, shared, sums);
  if (warp == kParts) SumSoftmax(work, shared);
  __syncthreads();
  ChunkPart parts[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    parts[i] = {{sums[2 * i], sums[2 * i + 1]}, shared.ends[lane / 4 + 8 * i]};
  }
  if (work.EndChunk() - work.FirstChunk() > 1) {
    if (!ShareChunk(args, work, pairs, parts, shared.num_done)) return;
    return PutChunksTogether(args, work, pairs, *reinterpret_cast<Parts*>(value_bytes));
  }
  if (warp >= kParts) return;
  Total totals[2];
  BeginTotals(args, pairs, totals);
#pragma unroll
  for (int i = 0; i < 2; ++i) totals[i].Add(parts[i], args.scale * kLog2E);
  StoreTotals(args, work, pairs, totals);
}

// Keys and values that this step does not write come while earlier kernels run.
template <int kHeadDim>
__global__ __cluster_dims__(kHeadDim / kSlice, 1, 1)
    __launch_bounds__(kThreads, kHeadDim == 256 ? 1 : 2) void FewRowsAttentionKernel(
        const __grid_constant__ AttentionArgs args) {
  using S = ScoreShape<kHeadDim>;
  extern __shared__ __align__(128) std::byte dynamic[];
  auto& shared = *reinterpret_cast<Shared*>(dynamic);
  std::byte* queries = dynamic + Layout<kHeadDim>::kQueriesBegin;
  std::byte* value_bytes = dynamic + Layout<kHeadDim>::kValuesBegin;
  const uint32_t values = SharedAddress(value_bytes);
  const auto x = static_cast<int>(blockIdx.x);
  const ChunkWork work =
      FindChunk(args, static_cast<int>(blockIdx.y), x / S::kSlices, x % S::kSlices);
  if (work.count() <= 0) return;  // all of the cluster; others wait for earlier kernels
  ArriveAtCluster();
  const int num_early = work.CountEarly();
  const KeyPlace place = KeysOfWarp<kHeadDim>(work);
  const bool has_keys = place.index < work.count();
  const bool are_early = place.index < num_early;
  const __nv_bfloat16* first_key = KeysAt(args, work, place);
  Keys<kHeadDim> keys;
  if (are_early) LoadKeys<kHeadDim>(first_key, keys);
  FetchValues(args, work, 0, num_early, values);
  PrefetchWritten<kHeadDim>(args, work, first_key, has_keys && !are_early);
  unsigned long long mask_of_lane = MaskOfLane(args, work);
  const Pairs pairs = FindFewPairs(args, work.at);
  if (threadIdx.x < kFewPairs) shared.is_poisoned[threadIdx.x] = 0;
  WaitForEarlierKernels();
  LetNextKernelBegin();  // not before: what it fetches ahead would delay keys and values
  FetchQueries<kHeadDim>(args, work.at, queries);
  if (has_keys && !are_early) LoadKeys<kHeadDim>(first_key, keys);
  FetchValues(args, work, num_early, work.count(), values);
  if (static_cast<int>(threadIdx.x) % 32 >= num_early) mask_of_lane = MaskOfLane(args, work);
  __syncthreads();
  if (has_keys) {
    StoreScores<kHeadDim>(work.at, place, queries, keys, shared.ScoresOf(place.index / S::kSlices));
  }
  WaitForCluster();  // all of its blocks have begun
  __syncthreads();
  TakeBlocks<kHeadDim>(args, work, pairs, mask_of_lane, values, shared);
  FinishChunk(args, work, pairs, values, value_bytes, shared);
}

template <int kHeadDim>
cudaError_t Launch(const AttentionArgs& args, cudaStream_t stream) {
  constexpr auto* kKernel = FewRowsAttentionKernel<kHeadDim>;
  constexpr int kBytes = Layout<kHeadDim>::kBytes;
  const cudaError_t allowed = AllowSharedBytes<kKernel, kBytes>();
  if (allowed != cudaSuccess) return allowed;
  const int chunks = (args.max_blocks + kBlocksPerChunk - 1) / kBlocksPerChunk;
  const dim3 blocks(chunks * ScoreShape<kHeadDim>::kSlices,
                    args.num_tiles * args.cache.num_kv_heads);
  return LaunchChained(kKernel, blocks, kThreads, kBytes, stream, args);
}

}  // namespace

cudaError_t LaunchFewRowsAttention(const AttentionArgs& args, cudaStream_t stream) {
  switch (args.cache.padded_head_dim) {
    case 64:
      return Launch<64>(args, stream);
    case 128:
      return Launch<128>(args, stream);
    case 256:
      return Launch<256>(args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace expertile::cuda
