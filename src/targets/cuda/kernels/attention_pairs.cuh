// Which (row, head) pairs a thread has, which keys they see, and where their results go.
// Not what is done with them: attention.cu and attention_few_rows.cu.
#pragma once

#include "targets/cuda/kernels/attention.h"
#include "targets/cuda/kernels/mma.cuh"

namespace expertile::cuda {

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

// One thread's two pairs of a tile, 8 apart.
struct Pairs {
  int row[2];  // of the step; -1: past the tile's last
  int head[2];
  KeyRange seen[2];
  KeyRange by_all;  // keys that all of the pairs [first, first + count) see
};

// Pairs `index` and index + 8 of a tile: of those from `first` on that share a product's rows.
__device__ inline Pairs FindPairs(const AttentionArgs& args, const AttentionTile& tile, int kv_head,
                                  int first, int count, int index) {
  const int group = args.num_heads / args.cache.num_kv_heads;
  Pairs pairs;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    pairs.row[i] = -1;
    pairs.head[i] = 0;
    pairs.seen[i] = {0, 0};
    if (index + 8 * i >= tile.num_pairs) continue;
    const int pair = tile.first_pair + index + 8 * i;
    pairs.row[i] = tile.first_row + pair / group;
    pairs.head[i] = kv_head * group + pair % group;
    pairs.seen[i] = KeysSeen(args, pairs.row[i]);
  }
  const int last = min(tile.num_pairs, first + count) - 1;
  pairs.by_all = {0, 0};
  if (first <= last) {
    pairs.by_all = {KeysSeen(args, tile.first_row + (tile.first_pair + last) / group).begin,
                    KeysSeen(args, tile.first_row + (tile.first_pair + first) / group).end};
  }
  return pairs;
}

// A thread's scores of a block of 64 keys: elements 4 j + {0, 1} are its first pair's, 4 j + {2, 3}
// its second's, of keys 8 j + 2 (thread % 4) + {0, 1}.
__device__ inline void MaskScores(const Pairs& pairs, int first_key, float (&scores)[32]) {
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int e = 0; e < 32; ++e) {
    const int key = first_key + e / 4 * 8 + 2 * q + e % 2;
    const KeyRange& seen = pairs.seen[e % 4 / 2];
    if (key < seen.begin || key >= seen.end) scores[e] = -INFINITY;
  }
}
__device__ inline void MaskIfNeeded(const Pairs& pairs, int block, float (&scores)[32]) {
  const int first_key = block * kKeysPerBlock;
  if (first_key < pairs.by_all.begin || first_key + kKeysPerBlock > pairs.by_all.end) {
    MaskScores(pairs, first_key, scores);
  }
}

// Probabilities as the first operand of four products over 16 keys each.
__device__ inline void PackProbabilities(const float (&scores)[32], uint32_t (&packed)[4][4]) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const float* s = &scores[step * 8];
    packed[step][0] = PackPair(s[0], s[1]);
    packed[step][1] = PackPair(s[2], s[3]);
    packed[step][2] = PackPair(s[4], s[5]);
    packed[step][3] = PackPair(s[6], s[7]);
  }
}

// Where a pair's chunk lies in AttentionArgs::partials: its sums, the largest score, the sum. Rows
// of whole 16 bytes.
__device__ inline float* PartialOf(const AttentionArgs& args, int64_t tile_and_head, int chunk,
                                   int pair) {
  const int64_t index = (tile_and_head * args.shared_chunks + chunk) * kPairsPerWarpgroup + pair;
  return args.partials + index * PartialStride(args.cache);
}

}  // namespace expertile::cuda
