// The scores of few rows' attention: queries in shared memory, a warp's keys in registers, where
// they come while earlier kernels run. Not what is done with the scores: attention_few_rows.cu.
#pragma once

#include "targets/cuda/kernels/attention_few_rows.cuh"

namespace expertile::cuda::few_pairs {

// A block of threads computes the scores of every kSlices-th block of its chunk, each by some of
// its warps: a warp has kTiles times 8 keys of one, 64 registers of them.
template <int kHeadDim>
struct ScoreShape {
  static constexpr int kSlices = kHeadDim / kSlice;
  static_assert(kSlices <= kMaxSlices);
  static constexpr int kBlocks = kBlocksPerChunk / kSlices;
  static constexpr int kWarpsPerBlock = kWarps / kBlocks;
  static constexpr int kTiles = kKeysPerBlock / 8 / kWarpsPerBlock;
  static constexpr int kSteps = kHeadDim / 16;
};

// Where a warp's keys are: of which block of the chunk, and the first 8 of them.
struct KeyPlace {
  int index;
  int first_tile;
};

template <int kHeadDim>
__device__ inline KeyPlace KeysOfWarp(const ChunkWork& work) {
  using S = ScoreShape<kHeadDim>;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  return {warp / S::kWarpsPerBlock * S::kSlices + work.slice, warp % S::kWarpsPerBlock * S::kTiles};
}

// Key 8 j + lane / 4 of a warp's. Of 16 of the depth a thread has elements 4 (lane % 4) to
// 4 (lane % 4) + 3, of its queries, too: in which order the 16 are makes no difference.
template <int kHeadDim>
struct Keys {
  uint2 words[ScoreShape<kHeadDim>::kTiles][ScoreShape<kHeadDim>::kSteps];
};

// The warp's first key, whose other ones follow it, in each plane of 64 of the head dimension.
__device__ inline const __nv_bfloat16* KeysAt(const AttentionArgs& args, const ChunkWork& work,
                                              const KeyPlace& place) {
  return args.cache.keys + work.BlockAt(place.index) * args.cache.block_elements() +
         work.at.kv_head * args.cache.head_elements() +
         KvPlanes::ElementOf(8, 0) * place.first_tile;
}

template <int kHeadDim>
__device__ inline void LoadKeys(const __nv_bfloat16* first, Keys<kHeadDim>& keys) {
  using S = ScoreShape<kHeadDim>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int step = 0; step < S::kSteps; ++step) {
    const __nv_bfloat16* mine = first + KvPlanes::ElementOf(lane / 4, step * 16 + lane % 4 * 4);
#pragma unroll
    for (int j = 0; j < S::kTiles; ++j) {
      keys.words[j][step] =
          __ldcg(reinterpret_cast<const uint2*>(mine + j * KvPlanes::ElementOf(8, 0)));
    }
  }
}

// A pair's queries in shared memory; rows begin in different banks.
template <int kHeadDim>
inline constexpr int kQueryBytes = kHeadDim * 2 + 32;

// By all threads. Pairs that are not there are zeros.
template <int kHeadDim>
__device__ inline void FetchQueries(const AttentionArgs& args, const TileAndHead& at,
                                    std::byte* queries) {
  constexpr int kChunks = kHeadDim / 8;  // of 16 bytes
  const int group = args.num_heads / args.cache.num_kv_heads;
  const int pairs = at.AreMany() ? kFewPairs : kFewPairs / 2;
  for (int i = static_cast<int>(threadIdx.x); i < pairs * kChunks; i += kThreads) {
    const int pair = i / kChunks;
    const int of_tile = at.tile.first_pair + pair;
    const int64_t row = at.tile.first_row + of_tile / group;
    const int64_t query = row * args.num_heads + at.kv_head * group + of_tile % group;
    const auto* from = reinterpret_cast<const uint4*>(args.queries + query * kHeadDim);
    *reinterpret_cast<uint4*>(queries + pair * kQueryBytes<kHeadDim> + i % kChunks * 16) =
        pair < at.tile.num_pairs ? __ldcg(from + i % kChunks) : uint4{};
  }
}

// The warp's scores to shared memory, as a warp's threads have a whole block's (MaskScores): of the
// first pairs [8][32] of two, then of the second.
template <int kHeadDim>
__device__ inline void StoreScores(const TileAndHead& at, const KeyPlace& place,
                                   const std::byte* queries, const Keys<kHeadDim>& keys,
                                   float2* scores) {
  using S = ScoreShape<kHeadDim>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::byte* mine = queries + lane / 4 * kQueryBytes<kHeadDim> + lane % 4 * 8;
  float sums[S::kTiles][4] = {};
#pragma unroll
  for (int step = 0; step < S::kSteps; ++step) {
    const uint2 first = *reinterpret_cast<const uint2*>(mine + step * 32);
    uint2 second = {};
    if (at.AreMany()) {
      second = *reinterpret_cast<const uint2*>(mine + 8 * kQueryBytes<kHeadDim> + step * 32);
    }
#pragma unroll
    for (int j = 0; j < S::kTiles; ++j) {
      const uint2& key = keys.words[j][step];
      MultiplyAdd(first.x, second.x, first.y, second.y, key.x, key.y, sums[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < S::kTiles; ++j) {
    float2* target = scores + (place.first_tile + j) * 32 + lane;
    target[0] = {sums[j][0], sums[j][1]};
    if (at.AreMany()) target[kHalfOfScores] = {sums[j][2], sums[j][3]};
  }
}

}  // namespace expertile::cuda::few_pairs
