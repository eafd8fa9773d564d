// What a block of threads of few rows' attention works on: its tile, its chunk, its slice.
// Not what it does: attention_scores.cuh, attention_chunks.cuh and attention_few_rows.cu.
#pragma once

#include "targets/cuda/kernels/attention_pairs.cuh"
#include "targets/cuda/kernels/mma.cuh"

namespace expertile::cuda::few_pairs {

inline constexpr int kWarps = 8;
inline constexpr int kThreads = 32 * kWarps;
inline constexpr int kSlice = 32;          // of the head dimension
inline constexpr int kParts = kSlice / 8;  // of a slice, 16 bytes each, each a warp's
inline constexpr int kHalfOfScores = 8 * 32;

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
  found.blocks = args.rows.blocks + found.tile.first_block;
  const int window = static_cast<int>(args.window);
  const int first = found.tile.first_position;
  found.range = {window == 0 ? 0 : max(0, first + 1 - window) / kKeysPerBlock,
                 found.tile.last_position / kKeysPerBlock + 1};
  found.first_written = first / kKeysPerBlock;
  return found;
}

__device__ inline Pairs FindFewPairs(const AttentionArgs& args, const TileAndHead& at) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  return FindPairs(args, at.tile, at.kv_head, 0, kFewPairs, lane / 4);
}

// The work of a block of threads: blocks [range.begin, range.end) of a chunk, and a slice of the
// head dimension.
struct ChunkWork {
  TileAndHead at;
  int chunk;
  BlockRange range;
  int slice;
  int32_t lanes_block;  // the number of the chunk's lane-th block

  __device__ int count() const { return range.end - range.begin; }
  // How many of the chunk's blocks no kernel of this step writes.
  __device__ int CountEarly() const { return min(max(at.first_written - range.begin, 0), count()); }
  // The number of the chunk's `index`-th block. By all lanes of a warp.
  __device__ int64_t BlockAt(int index) const {
    return __shfl_sync(0xffffffff, lanes_block, index);
  }
  // Chunks that the tile sees.
  __device__ int FirstChunk() const { return at.range.begin / kBlocksPerChunk; }
  __device__ int EndChunk() const { return (at.range.end + kBlocksPerChunk - 1) / kBlocksPerChunk; }
};

__device__ inline ChunkWork FindChunk(const AttentionArgs& args, int index, int chunk, int slice) {
  ChunkWork work;
  work.at = FindTile(args, index);
  work.chunk = chunk;
  work.range = {max(work.at.range.begin, chunk * kBlocksPerChunk),
                min(work.at.range.end, (chunk + 1) * kBlocksPerChunk)};
  work.slice = slice;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  work.lanes_block = lane < work.count() ? work.at.blocks[work.range.begin + lane] : 0;
  return work;
}

// How many chunks of a slice are done.
__device__ inline int32_t* TicketOf(const AttentionArgs& args, const ChunkWork& work) {
  return args.tickets + work.at.index * kMaxSlices + work.slice;
}

}  // namespace expertile::cuda::few_pairs
