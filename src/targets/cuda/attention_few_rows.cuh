// What the kernels of few rows' attention share: their tiles, and where scores lie.
// Not the kernels: attention_scores.cu and attention_few_rows.cu.
#pragma once

#include "targets/cuda/attention_pairs.cuh"
#include "targets/cuda/mma.cuh"

namespace expertile::cuda {

// A tile and a head of keys, by number.
struct TileAndHead {
  AttentionTile tile;
  int64_t index;
  int kv_head;
  const int32_t* blocks;  // of its sequence
  BlockRange range;
  int first_written;  // block: from here on they are written in this step

  __device__ bool AreMany() const { return tile.num_pairs > 8; }  // more than a thread's first pair
};

// A step's inputs are there before its first kernel: they may be read before earlier ones are done.
__device__ inline TileAndHead FindTile(const AttentionArgs& args, int index) {
  const int kv_heads = args.cache.num_kv_heads;
  TileAndHead found;
  found.index = index;
  found.kv_head = index % kv_heads;
  found.tile = args.tiles[index / kv_heads];
  found.blocks =
      args.rows.blocks + args.rows.table_offsets[args.rows.sequences[found.tile.first_row]];
  found.range = BlocksOf(args, found.tile);
  found.first_written = args.rows.positions[found.tile.first_row] / kKeysPerBlock;
  return found;
}

__device__ inline Pairs FindFewPairs(const AttentionArgs& args, const TileAndHead& work) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  return FindPairs(args, work.tile, work.kv_head, 0, kFewPairs, lane / 4);
}

// Scores of a block as a warp's threads have them (MaskScores): of the first pairs [8][32] of two,
// then of the second.
__device__ inline float2* ScoresOf(const AttentionArgs& args, const TileAndHead& work, int block) {
  const int64_t place = work.index * args.max_blocks + block;
  return reinterpret_cast<float2*>(args.scores + place * (kFewPairs * kKeysPerBlock));
}
inline constexpr int kHalfOfScores = 8 * 32;

inline constexpr int kSlice = 32;  // of the head dimension
inline constexpr int kMaxSlices = 256 / kSlice;

// How many chunks of a slice are done.
__device__ inline int32_t* TicketOf(const AttentionArgs& args, const TileAndHead& work, int slice) {
  return args.tickets + work.index * kMaxSlices + slice;
}

}  // namespace expertile::cuda
