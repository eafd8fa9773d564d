// The ring of stages between a matrix product's fetching and its multiplying warpgroups.
// Not what they do with it: gemm_fetch.cuh and gemm.cu.
#pragma once

#include "targets/cuda/kernels/barriers.cuh"
#include "targets/cuda/kernels/gemm_tiles.cuh"
#include "targets/cuda/kernels/tile_layout.h"

namespace expertile::cuda {

inline constexpr int kWarpgroup = 128;
inline constexpr int kRowBytes = kTileDepth * 2;             // of a tile's row in shared memory
inline constexpr int kWarpRows = 16;                         // of a tile's, a multiplying warp's
inline constexpr int kLeavingBytes = kWarpRows * kRowBytes;  // of shared memory, for a warp's rows

template <int kRows, int kColumns>
struct Shape {
  static constexpr int kMaxBytes = 225 * 1024;
  static constexpr int kMultipliers = kRows / 64;  // warpgroups
  static constexpr int kFetchThreads = kWarpgroup;
  static constexpr int kThreads = kFetchThreads + kMultipliers * kWarpgroup;
  static constexpr int kRowsBytes = kRows * kRowBytes;
  static constexpr int kStageBytes = kRowsBytes + kColumns * kRowBytes;
  static constexpr int kWarpsLeavingBytes = kMultipliers * 4 * kLeavingBytes;
  static constexpr int kMostStages = (kMaxBytes - kWarpsLeavingBytes) / kStageBytes;
  static constexpr int kStages = kMostStages < 12 ? kMostStages : 12;
  static constexpr int kLeavingBegin = kStages * kStageBytes;
  static constexpr int kBarriersBegin = kLeavingBegin + kWarpsLeavingBytes;
  static constexpr int kBarrierBytes = RoundUp(2 * kStages * 8, 16);
  static constexpr int kSharedBytes =
      kBarriersBegin + kBarrierBytes + (kStages + 2) * static_cast<int>(sizeof(TileWork)) + 1024;
};

// A place in the ring of stages: its index, and the parity of how often it has been gone round.
template <int kStages>
struct Place {
  int stage = 0;
  uint32_t round = 0;

  __device__ void Step() {
    if (++stage < kStages) return;
    stage = 0;
    round ^= 1;
  }
};

// A tile's work for all lanes of a warp. The first reads it, which is the one that lets the stage
// go.
__device__ inline TileWork ReadWork(const TileWork& shared) {
  constexpr int kWords = sizeof(TileWork) / sizeof(int32_t);
  union {
    TileWork work;
    int32_t words[kWords];
  } read = {};
  if (threadIdx.x % 32 == 0) read.work = shared;
#pragma unroll
  for (int32_t& word : read.words) word = __shfl_sync(0xffffffff, word, 0);
  return read.work;
}

// Whether all of a step comes by copies whose bytes the barrier of its stage counts, started by a
// thread or two: rows that lie one after another, or in tiles. Else all fetching threads gather
// rows.
__device__ inline bool FetchesWhole(const GemmArgs& args) {
  return args.gather == nullptr || args.stored_rows != 0;
}

// What a block's warpgroups share. A tile's work is told in the stage of its first step.
struct Ring {
  uint32_t stages;   // in shared memory
  uint32_t leaving;  // kLeavingBytes for each multiplying warp
  uint64_t* full;    // [kStages], as is the next
  uint64_t* empty;
  TileWork* work;       // [kStages]
  TileWork* announced;  // [2], among the fetching threads
};

}  // namespace expertile::cuda
