// The CUDA target's attention: preparing heads (norm, RoPE, KV cache) and the softmax over a
// cache's blocks. What the host knows of it. Not the kernels: heads.cu, attention.cu and
// attention_few_rows.cu.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace expertile::cuda {

inline constexpr int kKeysPerBlock = 64;  // kKvBlockSize, positions of a block of the cache

// A layer's keys and values: for each block and head, for each 64 of the padded head dimension, 64
// positions of 64 elements whose 16-byte chunks are swizzled as those of a weight's tile are.
struct KvPlanes {
  __nv_bfloat16* keys = nullptr;
  __nv_bfloat16* values = nullptr;
  // [blocks, kv_heads]: bit p is set while the value at position p has a NaN or an infinity.
  unsigned long long* non_finite = nullptr;
  int num_kv_heads = 0;
  int head_dim = 0;         // D, even
  int padded_head_dim = 0;  // 64, 128 or 256; zeros from D on

  __host__ __device__ int64_t head_elements() const {
    return static_cast<int64_t>(padded_head_dim) * kKeysPerBlock;
  }
  __host__ __device__ int64_t block_elements() const { return num_kv_heads * head_elements(); }
  // Of element d of position `position` of a block, within a head's elements.
  __host__ __device__ static int64_t ElementOf(int position, int d) {
    const int chunk = d % 64 / 8 ^ position % 8;
    return (d / 64 * kKeysPerBlock + position) * 64 + chunk * 8 + d % 8;
  }
};

// Where a step's rows belong, on the device.
struct StepRowsView {
  const int32_t* sequences = nullptr;      // [T]
  const int32_t* positions = nullptr;      // [T]
  const int32_t* table_offsets = nullptr;  // [S], of a sequence's first block in `blocks`
  const int32_t* blocks = nullptr;
};

struct PrepareHeadsArgs {
  const __nv_bfloat16* heads = nullptr;  // [T, row_stride]: queries, keys, values
  int64_t row_stride = 0;
  int64_t key_column = 0;  // where the keys begin, and the values
  int64_t value_column = 0;
  int64_t num_rows = 0;
  int num_heads = 0;
  const float* query_norm = nullptr;  // [D], or null
  const float* key_norm = nullptr;    // [D], or null
  float epsilon = 0.0f;
  const float* cos = nullptr;  // [T, D/2]
  const float* sin = nullptr;  // [T, D/2]
  StepRowsView rows;
  KvPlanes cache;
  __nv_bfloat16* queries = nullptr;  // [T, num_heads, padded D]
  int32_t* tickets = nullptr;        // AttentionArgs::tickets, made zeros here; or null
  int64_t num_tickets = 0;           // at most T kv_heads kMaxSlices
};

// Normalises and turns queries and keys; queries go to `queries`, keys and values to the cache.
cudaError_t LaunchPrepareHeads(const PrepareHeadsArgs& args, cudaStream_t stream);

// (row, head of a group) pairs that share keys: [first_pair, first_pair + num_pairs) of rows from
// first_row on, all of one sequence, whose pairs are numbered from first_row's first head on.
struct alignas(16) AttentionTile {
  int32_t first_row;
  int32_t first_pair;
  int32_t num_pairs;
  int32_t first_block;     // of the sequence, in StepRowsView::blocks
  int32_t first_position;  // of the pairs' first row
  int32_t last_position;   // of their last
  int32_t unused[2];
};

inline constexpr int kPairsPerWarpgroup = 64;

// A softmax is taken chunk by chunk of this many positions, from 0 on, and the chunks' results are
// put together in order: the bits are the same whether one block of threads takes all chunks or
// each another, as few rows with many keys need.
inline constexpr int kBlocksPerChunk = 16;
inline constexpr int kKeysPerChunk = kBlocksPerChunk * kKeysPerBlock;

struct AttentionArgs {
  const __nv_bfloat16* queries = nullptr;  // [T, num_heads, padded D]
  int num_heads = 0;
  int64_t window = 0;  // 0: none
  float scale = 1.0f;
  const float* sinks = nullptr;  // [num_heads], or null
  StepRowsView rows;
  KvPlanes cache;
  const AttentionTile* tiles = nullptr;
  int num_tiles = 0;
  int pairs_per_tile = 64;         // 64 or 128
  __nv_bfloat16* mixed = nullptr;  // [T, mixed_stride]
  int64_t mixed_stride = 0;
  // Chunks that are shared out, each to a block of threads of its own, or to a cluster of them: at
  // least those of every sequence. 0: none.
  int shared_chunks = 0;
  float* partials = nullptr;  // PartialFloats() of them, if chunks are shared
  // NumTickets() zeros, with which attention_few_rows.cu takes the tiles: all have at most
  // kFewPairs pairs, they are at most MaxFewTiles(), and chunks are shared unless max_blocks are
  // one chunk. Null: attention.cu takes them.
  int32_t* tickets = nullptr;
  int max_blocks = 0;  // of a sequence, with tickets
};

// Sums [Dp], the largest score and the sum of each pair of each chunk of each tile and key head.
__host__ __device__ constexpr int PartialStride(const KvPlanes& cache) {
  return cache.padded_head_dim + 4;
}
inline int64_t PartialFloats(int64_t num_tiles, const KvPlanes& cache, int shared_chunks) {
  return num_tiles * cache.num_kv_heads * shared_chunks * kPairsPerWarpgroup * PartialStride(cache);
}

inline constexpr int kFewPairs = 16;

// A tile and a head of keys are one of the second dimension of a grid.
inline int64_t MaxFewTiles(const KvPlanes& cache) { return 65535 / cache.num_kv_heads; }

inline constexpr int kMaxSlices = 8;  // of the head dimension, each of whose chunks are counted

inline int64_t NumTickets(int64_t num_tiles, const KvPlanes& cache) {
  return num_tiles * cache.num_kv_heads * kMaxSlices;
}

// With shared chunks, pairs_per_tile is kPairsPerWarpgroup.
cudaError_t LaunchAttention(const AttentionArgs& args, cudaStream_t stream);

}  // namespace expertile::cuda
