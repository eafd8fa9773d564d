// The tiles of a block of the matrix product of few rows, and the ring of stages between its warps.
// Not what the warps do: few_rows_fetch.cuh and gemm_few_rows.cu.
#pragma once

#include "targets/cuda/kernels/barriers.cuh"
#include "targets/cuda/kernels/gemm_tiles.cuh"
#include "targets/cuda/kernels/tile_layout.h"

namespace expertile::cuda::few_rows {

inline constexpr int kMaxMultipliers = 8;  // warps, each with a tile of its own
inline constexpr int kMaxFetchers = 4;     // warps, each for stages of its own
inline constexpr int kSteps = 4;           // of 64 of the depth: what a stage holds
inline constexpr int kRowBytes = kTileDepth * 2;
inline constexpr int kMaxStages = 80;

// Two blocks fit a multiprocessor, so that the next product's weights come while this one's are
// multiplied; with more rows than that stages are large, and one block has all of it.
__host__ __device__ constexpr int RingBytes(int64_t most_rows) {
  return (most_rows <= 2 ? 104 : 208) * 1024;
}

// How a block works, and a stage: the steps' columns, of MXFP4 their scales, then the steps' rows,
// as many as a tile can have, each 128 bytes with 16-byte chunk c of row r at chunk c ^ r.
template <bool kIsMxfp4>
struct Stage {
  static constexpr int kMultipliers = kIsMxfp4 ? kMaxMultipliers : 4;
  static constexpr int kFetchers = kIsMxfp4 ? 2 : kMaxFetchers;
  static constexpr int kThreads = 32 * (kMultipliers + kFetchers);
  static constexpr int kColumnBytes = kIsMxfp4 ? kTileDepth / 2 : kRowBytes;  // of a step
  static constexpr int kScaleBytes = kIsMxfp4 ? 2 : 0;
  static constexpr int kStepBytes = kFewRowsTile.columns * kColumnBytes;
  static constexpr int kScalesBegin = kSteps * kStepBytes;
  static constexpr int kRowsBegin = kScalesBegin + kSteps * kFewRowsTile.columns * kScaleBytes;

  // How many columns lie in memory for so many: of MXFP4 whole packs of them.
  __device__ static constexpr int64_t StoredColumns(int64_t columns) {
    constexpr int kPack = kIsMxfp4 ? kMxfp4Columns : 1;
    return (columns + kPack - 1) / kPack * kPack;
  }
  __host__ __device__ static constexpr int Bytes(int most_rows) {
    return kRowsBegin + kSteps * most_rows * kRowBytes;
  }
  // A warp gives a stage back once it has begun with the next.
  static_assert(RingBytes(2) >= 2 * kMultipliers * Bytes(2));
  static_assert(RingBytes(kFewRowsTile.rows) >= 2 * kMultipliers * Bytes(kFewRowsTile.rows));
};

// A tile's columns and rows, as the fetching warp needs them.
struct Source {
  const std::byte* columns;  // of the first step
  const uint8_t* scales;
  int64_t columns_step;  // bytes from one step's to the next
  int64_t scales_step;
  int num_columns;
  int num_rows;
  const __nv_bfloat16* rows[kFewRowsTile.rows];  // of the first step; null: no such row
};

// What a block's warps share. Tiles are taken in rounds of one for each multiplying warp, and each
// of them has as many of the stages: with several tiles' steps in one stage by turns, whose copies
// are done in any order, a barrier's parity would not tell which of them are there.
struct Ring {
  uint32_t stages;  // in shared memory
  int stage_bytes;
  int num_stages;
  uint64_t* full;  // [num_stages], as is the next
  uint64_t* empty;
  Source* sources;  // [kMaxFetchers][kMaxMultipliers]
};

constexpr int SharedBytes(int64_t most_rows) {
  return 128 + RingBytes(most_rows) + 2 * kMaxStages * 8 +
         kMaxFetchers * kMaxMultipliers * static_cast<int>(sizeof(Source));
}

// A place among a warp's stages, and the parity of how often they have been gone round.
class Place {
 public:
  // `sharers` warps share the ring.
  __device__ Place(const Ring& ring, int sharers) : count_(ring.num_stages / sharers) {}

  __device__ int StageOf(int warp) const { return warp * count_ + index_; }
  __device__ int count() const { return count_; }
  __device__ uint32_t round() const { return round_; }
  __device__ void Step() {
    if (++index_ < count_) return;
    index_ = 0;
    round_ ^= 1;
  }

 private:
  int count_;
  int index_ = 0;
  uint32_t round_ = 0;
};

// The numbers of a block's tiles, and what they are: every gridDim-th. The plan is read from the
// second-level cache: who reads it before its wait (GemmArgs::is_plan_there) may find the plan of a
// layer before in the first-level one.
class Tiles {
 public:
  __device__ explicit Tiles(const GemmArgs& args)
      : args_(args), column_tiles_(NumColumnTiles<kFewRowsTile.columns>(args)) {}
  // Before it there are none. Of experts it reads how many there are.
  __device__ void FindCount() {
    const int row_tiles =
        args_.row_tiles != nullptr
            ? __ldcg(args_.nsp_offsets + args_.num_nsp)
            : (static_cast<int>(args_.num_rows) + kFewRowsTile.rows - 1) / kFewRowsTile.rows;
    count_ = row_tiles * column_tiles_;
  }
  // Of this block.
  __device__ int count() const {
    const int blocks = static_cast<int>(gridDim.x);
    return (count_ - static_cast<int>(blockIdx.x) + blocks - 1) / blocks;
  }
  // The block's `index`-th.
  __device__ TileWork WorkOf(int index) const {
    const int tile = index * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
    TileWork work;
    const int row_tile = tile / column_tiles_;
    work.columns = FindColumnTile<kFewRowsTile.columns>(args_, tile % column_tiles_);
    const int begin = row_tile * kFewRowsTile.rows;
    work.rows =
        args_.row_tiles != nullptr
            ? TileAt(row_tile)
            : RowTile{0, begin, min(static_cast<int>(args_.num_rows), begin + kFewRowsTile.rows),
                      begin};
    return work;
  }

 private:
  __device__ RowTile TileAt(int index) const {
    static_assert(sizeof(RowTile) == sizeof(int4));
    const int4 words = __ldcg(reinterpret_cast<const int4*>(args_.row_tiles) + index);
    return {words.x, words.y, words.z, words.w};
  }

  const GemmArgs& args_;
  int column_tiles_;
  int count_ = 0;
};

// By all threads of a block.
template <bool kIsMxfp4>
__device__ Ring MakeRing(const GemmArgs& args, std::byte* dynamic) {
  const uint32_t base = SharedAddress(dynamic);
  const uint32_t stages = (base + 127) / 128 * 128;
  const auto rows = static_cast<int>(args.most_rows);
  auto* words = reinterpret_cast<uint64_t*>(dynamic + (stages - base) + RingBytes(rows));
  const int stage_bytes = Stage<kIsMxfp4>::Bytes(rows);
  const Ring ring{stages, stage_bytes,        RingBytes(rows) / stage_bytes,
                  words,  words + kMaxStages, reinterpret_cast<Source*>(words + 2 * kMaxStages)};
  if (threadIdx.x % 32 == 0) {  // each warp some
    for (int i = static_cast<int>(threadIdx.x) / 32; i < ring.num_stages;
         i += Stage<kIsMxfp4>::kThreads / 32) {
      InitBarrier(&ring.full[i], 32);  // each lane's copies
      InitBarrier(&ring.empty[i], 32);
    }
  }
  __syncthreads();
  return ring;
}

}  // namespace expertile::cuda::few_rows
