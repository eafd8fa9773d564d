// Attention of few rows (decode), where all that attention.cu does block by block one after another
// is done side by side: the scores of all blocks by one kernel (attention_scores.cu), then, for
// each chunk and 32 of the head dimension, the softmax of all blocks and, in order, the sums of
// values. Only these and the running largest score depend on the block before. The arithmetic is
// attention.cu's, bit for bit.
#include "targets/cuda/attention_few_rows.cuh"
#include "targets/cuda/attention_few_rows.h"
#include "targets/cuda/barriers.cuh"
#include "targets/cuda/launch.cuh"
#include "targets/cuda/softmax.cuh"

namespace expertile::cuda {
namespace {

constexpr int kMixWarps = 8;
constexpr int kMixThreads = 32 * kMixWarps;
constexpr int kParts = kSlice / 8;                    // of a slice, 16 bytes each, each a warp's
constexpr int kPlaneBytes = kKeysPerChunk * 16 + 32;  // parts' planes begin in different banks

// What a block's warps share of a chunk's blocks and pairs.
struct Shared {
  uint4 probabilities[kBlocksPerChunk][4][32];  // as a product's first operand has them
  float sums[kBlocksPerChunk][kFewPairs][4];    // each of four threads'
  float largest[kBlocksPerChunk][kFewPairs];    // of the block alone
  float rescale[kBlocksPerChunk][kFewPairs];
  int is_poisoned[kFewPairs];
  int num_done;  // chunks before this one
};

// The work of a block of threads: blocks [range.begin, range.end) of a chunk.
struct ChunkWork {
  TileAndHead at;
  int chunk;
  BlockRange range;
  int slice;  // of the head dimension

  __device__ int count() const { return range.end - range.begin; }
  // Chunks that the tile sees.
  __device__ int FirstChunk() const { return at.range.begin / kBlocksPerChunk; }
  __device__ int EndChunk() const { return (at.range.end + kBlocksPerChunk - 1) / kBlocksPerChunk; }
};

// Values of blocks [begin, end) to shared memory: for each 8 of the slice the keys' 16 bytes.
__device__ void FetchValues(const AttentionArgs& args, const ChunkWork& work, int begin, int end,
                            uint32_t values) {
  const int thread = static_cast<int>(threadIdx.x);
  const int position = thread / kParts;
  const int part = thread % kParts;
  const int element = KvPlanes::ElementOf(position, work.slice * kSlice + part * 8);
  const __nv_bfloat16* head =
      args.cache.values + work.at.kv_head * args.cache.head_elements() + element;
  const uint32_t target = values + part * kPlaneBytes + position * 16;
  for (int b = begin; b < end; ++b) {
    CopyChunk(target + (b - work.range.begin) * kKeysPerBlock * 16,
              head + work.at.blocks[b] * args.cache.block_elements());
  }
}

// The scores of a block, as MaskScores has them.
__device__ inline void LoadScores(const AttentionArgs& args, const ChunkWork& work, int block,
                                  float (&scores)[32]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float2* source = ScoresOf(args, work.at, block) + lane;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const float2 first = __ldcg(source + j * 32);
    const float2 second =
        work.at.AreMany() ? __ldcg(source + kHalfOfScores + j * 32) : float2{0.0f, 0.0f};
    scores[4 * j] = first.x;
    scores[4 * j + 1] = first.y;
    scores[4 * j + 2] = second.x;
    scores[4 * j + 3] = second.y;
  }
}

// Values that are not finite become zeros, since a probability of 0 would not make them so; the
// pairs that see them are poisoned. By the warp that takes the block's softmax.
__device__ void ClearNonFinite(const AttentionArgs& args, const ChunkWork& work, const Pairs& pairs,
                               int block, uint32_t values, Shared& shared) {
  const int64_t head =
      static_cast<int64_t>(work.at.blocks[block]) * args.cache.num_kv_heads + work.at.kv_head;
  const unsigned long long mask = args.cache.non_finite[head];
  if (mask == 0) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int key = 0; key < kKeysPerBlock; ++key) {
    if ((mask >> key & 1) == 0) continue;
    const int position = block * kKeysPerBlock + key;
    for (int i = 0; i < 2; ++i) {
      if (position < pairs.seen[i].begin || position >= pairs.seen[i].end) continue;
      if (lane % 4 == 0) shared.is_poisoned[lane / 4 + 8 * i] = 1;
    }
    const uint32_t place = ((block - work.range.begin) * kKeysPerBlock + key) * 16;
    if (lane < 4 * kParts) {
      asm volatile(
          "st.shared.b32 [%0], %1;" ::"r"(values + lane / 4 * kPlaneBytes + place + lane % 4 * 4),
          "r"(0)
          : "memory");
    }
  }
}

// The softmax of the chunk's `index`-th block, whose scores are there, once all blocks' largest
// scores are.
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
    shared.sums[index][pair][lane % 4] = TakeProbabilities(scores, i, largest, factor);
    if (lane % 4 == 0) shared.rescale[index][pair] = RescaleFactor(before, largest, factor);
  }
  uint32_t packed[4][4];
  PackProbabilities(scores, packed);
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    shared.probabilities[index][step][lane] = {packed[step][0], packed[step][1], packed[step][2],
                                               packed[step][3]};
  }
}

// The softmaxes of all blocks, two a warp at most, once their values are there, too: those that are
// not finite are cleared.
__device__ void TakeBlocks(const AttentionArgs& args, const ChunkWork& work, const Pairs& pairs,
                           uint32_t values, Shared& shared) {
  static_assert(kBlocksPerChunk == 2 * kMixWarps);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const bool are_many = work.at.AreMany();
  float scores[2][32];
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    const int index = warp + n * kMixWarps;
    if (index < work.count()) LoadScores(args, work, work.range.begin + index, scores[n]);
  }
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    const int index = warp + n * kMixWarps;
    if (index >= work.count()) continue;
    MaskIfNeeded(pairs, work.range.begin + index, scores[n]);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (i == 1 && !are_many) break;
      const float largest = LargestScore(scores[n], i, -INFINITY);
      if (lane % 4 == 0) shared.largest[index][lane / 4 + 8 * i] = largest;
    }
  }
  CommitCopies();
  WaitForCopies<0>();
  __syncthreads();
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    const int index = warp + n * kMixWarps;
    if (index >= work.count()) continue;
    TakeBlock(index, are_many, args.scale * kLog2E, scores[n], shared);
    ClearNonFinite(args, work, pairs, work.range.begin + index, values, shared);
  }
  __syncthreads();
}

// A block's probabilities, its values of 8 of the head dimension as second operands of products
// over 32 keys each, and what the sums before are multiplied by.
struct BlockOperands {
  uint4 probabilities[4];
  uint32_t values[2][4];
  float rescale[2];
};

__device__ inline void LoadBlock(int index, uint32_t values, const Shared& shared,
                                 BlockOperands& block) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(block.values[i][0]), "=r"(block.values[i][1]), "=r"(block.values[i][2]),
                   "=r"(block.values[i][3])
                 : "r"(values + (index * kKeysPerBlock + 32 * i + lane) * 16)
                 : "memory");
    block.rescale[i] = shared.rescale[index][lane / 4 + 8 * i];
  }
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    block.probabilities[step] = shared.probabilities[index][step][lane];
  }
}

__device__ inline void MultiplyBlock(const BlockOperands& block, bool is_first, float (&sums)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    if (!is_first) sums[e] *= block.rescale[e / 2];
  }
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const uint4& p = block.probabilities[step];
    const uint32_t(&matrices)[4] = block.values[step / 2];
    MultiplyAdd(p.x, p.y, p.z, p.w, matrices[step % 2 * 2], matrices[step % 2 * 2 + 1], sums);
  }
}

// The blocks' values summed in order, of a warp's 8 of the slice.
__device__ void SumValues(const ChunkWork& work, uint32_t values, const Shared& shared,
                          float (&sums)[4]) {
  const uint32_t mine = values + threadIdx.x / 32 * kPlaneBytes;
  BlockOperands operands[2];
  LoadBlock(0, mine, shared, operands[0]);
  for (int block = 0; block < work.count(); block += 2) {
    if (block + 1 < work.count()) LoadBlock(block + 1, mine, shared, operands[1]);
    MultiplyBlock(operands[0], block == 0, sums);
    if (block + 1 >= work.count()) break;
    if (block + 2 < work.count()) LoadBlock(block + 2, mine, shared, operands[0]);
    MultiplyBlock(operands[1], false, sums);
  }
}

// The softmax of all of the chunk's blocks, but for what they are the softmax of.
__device__ SoftmaxState SumSoftmax(const ChunkWork& work, const Shared& shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  SoftmaxState state = EmptySoftmax();
#pragma unroll
  for (int block = 0; block < kBlocksPerChunk; ++block) {
    if (block >= work.count()) break;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int pair = lane / 4 + 8 * i;
      state.largest[i] = fmaxf(state.largest[i], shared.largest[block][pair]);
      state.sum[i] =
          fmaf(state.sum[i], shared.rescale[block][pair], shared.sums[block][pair][lane % 4]);
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    state.is_poisoned[i] = shared.is_poisoned[lane / 4 + 8 * i] != 0;
  }
  return state;
}

// A chunk of a pair: two sums, of the head dimension's elements d and d + 1, and its softmax.
struct ChunkPart {
  float2 sums;
  float2 end;  // the largest score, the sum
};

// Of a thread: its first element, whose pairs are lane / 4 and 8 more.
__device__ inline int ElementOfThread(const ChunkWork& work) {
  return work.slice * kSlice + static_cast<int>(threadIdx.x) / 32 * 8 +
         2 * (static_cast<int>(threadIdx.x) % 4);
}
__device__ inline float* PartOf(const AttentionArgs& args, const ChunkWork& work, int chunk,
                                int i) {
  return PartialOf(args, work.at.index, chunk, static_cast<int>(threadIdx.x) % 32 / 4 + 8 * i);
}

// Puts a pair's chunks together in order and stores the result; part(c) is chunk c's.
template <typename Part>
__device__ void StoreResult(const AttentionArgs& args, const ChunkWork& work, const Pairs& pairs,
                            int i, Part part) {
  const float factor = args.scale * kLog2E;
  float largest = -INFINITY;
  float sum = 0.0f;
  if (args.sinks != nullptr) {
    BeginWithSink(args.sinks[pairs.head[i]], args.scale, factor, largest, sum);
  }
  float2 sums = {};
#pragma unroll 4
  for (int chunk = work.FirstChunk(); chunk < work.EndChunk(); ++chunk) {
    const ChunkPart p = part(chunk);
    const Factors factors = PutTogether(largest, sum, p.end.x, p.end.y, factor);
    sums = {PutTogether(sums.x, p.sums.x, factors), PutTogether(sums.y, p.sums.y, factors)};
  }
  const float inverse = 1.0f / sum;
  const int d = ElementOfThread(work);
  if (d >= args.cache.head_dim) return;
  *reinterpret_cast<uint32_t*>(args.mixed + pairs.row[i] * args.mixed_stride +
                               pairs.head[i] * args.cache.head_dim + d) =
      PackPair(sums.x * inverse, sums.y * inverse);
}

// A chunk's sums to memory; whoever is the last of the slice's chunks puts all together.
__device__ void ShareChunk(const AttentionArgs& args, const ChunkWork& work, const Pairs& pairs,
                           const ChunkPart (&parts)[2], Shared& shared) {
  const bool sums = threadIdx.x < 32 * kParts;
  const int d = ElementOfThread(work);
  const int padded = args.cache.padded_head_dim;
  for (int i = 0; i < 2; ++i) {
    if (!sums || pairs.row[i] < 0) continue;
    float* partial = PartOf(args, work, work.chunk, i);
    *reinterpret_cast<float2*>(partial + d) = parts[i].sums;
    // Every slice's are the same.
    if (threadIdx.x < 32 && threadIdx.x % 4 == 0) {
      *reinterpret_cast<float2*>(partial + padded) = parts[i].end;
    }
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) shared.num_done = atomicAdd(TicketOf(args, work.at, work.slice), 1);
  __syncthreads();
  if (shared.num_done != work.EndChunk() - work.FirstChunk() - 1) return;
  __threadfence();
  for (int i = 0; i < 2; ++i) {
    if (!sums || pairs.row[i] < 0) continue;
    StoreResult(args, work, pairs, i, [&](int chunk) {
      const float* partial = PartOf(args, work, chunk, i);
      return ChunkPart{__ldcg(reinterpret_cast<const float2*>(partial + d)),
                       __ldcg(reinterpret_cast<const float2*>(partial + padded))};
    });
  }
}

// A block of threads for a chunk, a tile and head of keys, and a slice of the head dimension.
__global__ __launch_bounds__(kMixThreads) void MixKernel(
    const __grid_constant__ AttentionArgs args) {
  extern __shared__ __align__(128) std::byte dynamic[];
  auto& shared = *reinterpret_cast<Shared*>(dynamic);
  const uint32_t values = SharedAddress(dynamic) + static_cast<uint32_t>(sizeof(Shared));
  LetNextKernelBegin();
  const auto chunk = static_cast<int>(blockIdx.x);
  const TileAndHead at = FindTile(args, static_cast<int>(blockIdx.y));
  const ChunkWork work{at,
                       chunk,
                       {max(at.range.begin, chunk * kBlocksPerChunk),
                        min(at.range.end, (chunk + 1) * kBlocksPerChunk)},
                       static_cast<int>(blockIdx.z)};
  // Values that this step writes are there only after the wait.
  const int early_end = min(work.range.end, at.first_written);
  FetchValues(args, work, work.range.begin, early_end, values);
  if (threadIdx.x < kFewPairs) shared.is_poisoned[threadIdx.x] = 0;
  const Pairs pairs = FindFewPairs(args, work.at);
  WaitForEarlierKernels();
  if (work.range.begin >= work.range.end) return;
  FetchValues(args, work, max(work.range.begin, early_end), work.range.end, values);
  TakeBlocks(args, work, pairs, values, shared);
  float sums[4] = {};
  if (threadIdx.x < 32 * kParts) SumValues(work, values, shared, sums);
  const SoftmaxState state = SumSoftmax(work, shared);
  ChunkPart parts[2];
  for (int i = 0; i < 2; ++i) {
    parts[i] = {{sums[2 * i], sums[2 * i + 1]}, {state.largest[i], ChunkSum(state, i)}};
  }
  if (work.EndChunk() - work.FirstChunk() > 1) {
    return ShareChunk(args, work, pairs, parts, shared);
  }
  for (int i = 0; i < 2; ++i) {
    if (threadIdx.x >= 32 * kParts || pairs.row[i] < 0) continue;
    StoreResult(args, work, pairs, i, [&](int) { return parts[i]; });
  }
}

}  // namespace

cudaError_t LaunchFewRowsAttention(const AttentionArgs& args, cudaStream_t stream) {
  const cudaError_t error = LaunchScores(args, stream);
  if (error != cudaSuccess) return error;
  constexpr size_t kSharedBytes = sizeof(Shared) + kParts * kPlaneBytes;
  static const cudaError_t prepared =
      cudaFuncSetAttribute(MixKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (prepared != cudaSuccess) return prepared;
  const int chunks = (args.max_blocks + kBlocksPerChunk - 1) / kBlocksPerChunk;
  const dim3 blocks(chunks, args.num_tiles * args.cache.num_kv_heads,
                    args.cache.padded_head_dim / kSlice);
  return LaunchChained(MixKernel, blocks, kMixThreads, kSharedBytes, stream, args);
}

}  // namespace expertile::cuda
