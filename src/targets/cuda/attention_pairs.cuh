// Which (row, head) pairs a thread has, and which keys they see.
// Not what is done with them: attention.cu.
#pragma once

#include "targets/cuda/attention.h"

namespace expertile::cuda {

inline constexpr int kWarpgroup = 128;  // threads

struct KeyRange {
  int begin;
  int end;
};

__device__ inline KeyRange KeysSeen(const AttentionArgs& args, int row) {
  const int end = args.rows.positions[row] + 1;
  const int window = static_cast<int>(args.window);
  return {window == 0 ? 0 : max(0, end - window), end};
}

// The blocks that a tile's rows see: positions ascend, so its first and last row bound them.
struct BlockRange {
  int begin;
  int end;
};
__device__ inline BlockRange BlocksOf(const AttentionArgs& args, const AttentionTile& tile) {
  const int group = args.num_heads / args.cache.num_kv_heads;
  const int first = tile.first_row + tile.first_pair / group;
  const int last = tile.first_row + (tile.first_pair + tile.num_pairs - 1) / group;
  return {KeysSeen(args, first).begin / kKeysPerBlock,
          (KeysSeen(args, last).end + kKeysPerBlock - 1) / kKeysPerBlock};
}

// One thread's two pairs of a tile: rows r and r + 8 of its warpgroup's 64.
struct Pairs {
  int row[2];  // of the step; -1: past the tile's last
  int head[2];
  KeyRange seen[2];
  KeyRange by_all;  // keys that all of the warpgroup's pairs see
};

__device__ inline Pairs FindPairs(const AttentionArgs& args, const AttentionTile& tile,
                                  int kv_head) {
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  const int group = args.num_heads / args.cache.num_kv_heads;
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  Pairs pairs;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int index = warpgroup * kPairsPerWarpgroup + thread / 32 * 16 + thread % 32 / 4 + 8 * i;
    pairs.row[i] = -1;
    pairs.head[i] = 0;
    pairs.seen[i] = {0, 0};
    if (index >= tile.num_pairs) continue;
    const int pair = tile.first_pair + index;
    pairs.row[i] = tile.first_row + pair / group;
    pairs.head[i] = kv_head * group + pair % group;
    pairs.seen[i] = KeysSeen(args, pairs.row[i]);
  }
  const int first = warpgroup * kPairsPerWarpgroup;
  const int last = min(tile.num_pairs, first + kPairsPerWarpgroup) - 1;
  pairs.by_all = {0, 0};
  if (first <= last) {
    pairs.by_all = {KeysSeen(args, tile.first_row + (tile.first_pair + last) / group).begin,
                    KeysSeen(args, tile.first_row + (tile.first_pair + first) / group).end};
  }
  return pairs;
}

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

}  // namespace expertile::cuda
