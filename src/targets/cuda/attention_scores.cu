// The scores of few rows' attention: of all blocks side by side, since no block's depends on
// another's. What is done with them: attention_few_rows.cu.
#include <algorithm>

#include "targets/cuda/attention_few_rows.cuh"
#include "targets/cuda/attention_few_rows.h"
#include "targets/cuda/launch.cuh"

namespace expertile::cuda {
namespace {

constexpr int kScoreWarps = 4;

// Of 16 of the depth a thread has elements 4 (lane % 4) to 4 (lane % 4) + 3 of its rows, in both
// operands: in which order the 16 are makes no difference.
template <int kHeadDim>
struct Queries {
  uint2 words[kHeadDim / 16][2];
};

template <int kHeadDim>
__device__ inline void LoadFewQueries(const AttentionArgs& args, const Pairs& pairs,
                                      Queries<kHeadDim>& queries) {
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool is_there = pairs.row[i] >= 0;
    const int64_t pair =
        is_there ? static_cast<int64_t>(pairs.row[i]) * args.num_heads + pairs.head[i] : 0;
    const auto* words = reinterpret_cast<const uint2*>(args.queries + pair * kHeadDim);
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
      queries.words[step][i] = is_there ? __ldcg(words + step * 4 + q) : uint2{0, 0};
    }
  }
}

// A warp's keys of a block: 8 j + lane / 4 for two j.
template <int kHeadDim>
struct Keys {
  uint2 words[2][kHeadDim / 16];
};

template <int kHeadDim>
__device__ inline void LoadKeys(const AttentionArgs& args, const TileAndHead& work, int block,
                                Keys<kHeadDim>& keys) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const __nv_bfloat16* head = args.cache.keys + work.blocks[block] * args.cache.block_elements() +
                              work.kv_head * args.cache.head_elements();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int key = 8 * (2 * warp + i) + lane / 4;
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
      keys.words[i][step] = __ldcg(reinterpret_cast<const uint2*>(
          head + KvPlanes::ElementOf(key, step * 16 + lane % 4 * 4)));
    }
  }
}

template <int kHeadDim>
__device__ inline void StoreScores(const AttentionArgs& args, const TileAndHead& work, int block,
                                   const Queries<kHeadDim>& queries, const Keys<kHeadDim>& keys) {
  float sums[2][4] = {};
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    const uint2(&query)[2] = queries.words[step];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint2& key = keys.words[i][step];
      MultiplyAdd(query[0].x, query[1].x, query[0].y, query[1].y, key.x, key.y, sums[i]);
    }
  }
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  float2* scores = ScoresOf(args, work, block) + 2 * warp * 32 + lane;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    scores[i * 32] = {sums[i][0], sums[i][1]};
    if (work.AreMany()) scores[kHalfOfScores + i * 32] = {sums[i][2], sums[i][3]};
  }
}

// Blocks of threads share a sequence's blocks, a warp computes 16 keys of one. The first one's keys
// come while earlier kernels run, unless this step writes them.
template <int kHeadDim>
__global__ __launch_bounds__(32 * kScoreWarps) void ScoresKernel(
    const __grid_constant__ AttentionArgs args) {
  LetNextKernelBegin();
  const TileAndHead work = FindTile(args, static_cast<int>(blockIdx.y));
  const Pairs pairs = FindFewPairs(args, work);
  int block = work.range.begin + static_cast<int>(blockIdx.x);
  const bool is_early = block < min(work.range.end, work.first_written);
  Keys<kHeadDim> keys;
  if (is_early) LoadKeys(args, work, block, keys);
  WaitForEarlierKernels();
  if (blockIdx.x == 0 && threadIdx.x < kMaxSlices) *TicketOf(args, work, threadIdx.x) = 0;
  if (block >= work.range.end) return;
  Queries<kHeadDim> queries;
  LoadFewQueries(args, pairs, queries);
  if (!is_early) LoadKeys(args, work, block, keys);
  StoreScores(args, work, block, queries, keys);
  for (block += static_cast<int>(gridDim.x); block < work.range.end;
       block += static_cast<int>(gridDim.x)) {
    LoadKeys(args, work, block, keys);
    StoreScores(args, work, block, queries, keys);
  }
}

}  // namespace

cudaError_t LaunchScores(const AttentionArgs& args, cudaStream_t stream) {
  constexpr int kMostBlocks = 1024;
  const int tiles_and_heads = args.num_tiles * args.cache.num_kv_heads;
  const int shares = std::clamp(kMostBlocks / tiles_and_heads, 1, args.max_blocks);
  const dim3 blocks(shares, tiles_and_heads);
  const auto launch = [&](auto* kernel) {
    return LaunchChained(kernel, blocks, 32 * kScoreWarps, 0, stream, args);
  };
  switch (args.cache.padded_head_dim) {
    case 64:
      return launch(ScoresKernel<64>);
    case 128:
      return launch(ScoresKernel<128>);
    case 256:
      return launch(ScoresKernel<256>);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace expertile::cuda
