// What follows a matrix product on its way from registers to memory: bias, activation, rounding.
// Not the product: gemm.cu.
#pragma once

#include <cuda_bf16.h>

#include "targets/cuda/kernels/activation.cuh"
#include "targets/cuda/kernels/gemm.h"
#include "targets/cuda/kernels/gemm_stages.cuh"
#include "targets/cuda/kernels/mma.cuh"

namespace expertile::cuda {

// How a warp's rows of a tile of `kColumns` columns leave. Sums do so from where they are: a thread
// has two rows'. What is rounded goes through shared memory, up to 64 elements of each row at a
// time, so that threads write 16 bytes each, those beside each other of the same row.
template <int kColumns, Epilogue kEpilogue>
struct Leaving {
  static constexpr bool kIsStaged = kEpilogue != Epilogue::kFloat32;
  static constexpr int kElements = kStoresTiles<kEpilogue> ? kColumns / 2 : kColumns;  // of a row
  static constexpr int kChunks = kElements < kTileDepth ? kElements / 8 : kTileDepth / 8;
  static constexpr int kThreadsOfRow = kIsStaged ? kChunks : 4;
  static constexpr int kRowsAtOnce = 32 / kThreadsOfRow;
  static constexpr int kRows = kWarpRows / kRowsAtOnce;  // that a thread writes

  __device__ static int Row(int i) {
    return static_cast<int>(threadIdx.x) % 32 / kThreadsOfRow + kRowsAtOnce * i;
  }

  // The numbers of a thread's rows in the output, or in rows in tiles; negative: past the tile's
  // last. Asked for before a tile's products and used after them: they take a while to come.
  struct Numbers {
    int32_t rows[kRows];
  };
  // `first` is the warp's first row of the tile.
  __device__ static Numbers Find(const GemmArgs& args, const RowTile& tile, int first) {
    Numbers numbers;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int inside = first + Row(i);
      numbers.rows[i] = -1;
      if (tile.begin + inside >= tile.end) continue;
      if constexpr (kStoresTiles<kEpilogue>) {
        numbers.rows[i] = tile.stored + inside;
      } else {
        numbers.rows[i] =
            args.scatter != nullptr ? args.scatter[tile.begin + inside] : tile.begin + inside;
      }
    }
    return numbers;
  }
};

// Several blocks' at a time are on their way from memory.
template <int kColumns>
__device__ void AddBias(const float* bias, int blocks, float (&sums)[kColumns / 2]) {
  constexpr int kBlocks = kColumns / 8;
  constexpr int kAtOnce = kBlocks < 8 ? kBlocks : 8;
  const float* mine = bias + 2 * (static_cast<int>(threadIdx.x) % 4);
#pragma unroll
  for (int first = 0; first < kBlocks; first += kAtOnce) {
    if (first >= blocks) break;
    float2 b[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      b[i] = *reinterpret_cast<const float2*>(mine + min(first + i, blocks - 1) * 8);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      float* sum = &sums[(first + i) * 4];
      sum[0] += b[i].x;
      sum[1] += b[i].y;
      sum[2] += b[i].x;
      sum[3] += b[i].y;
    }
  }
}

// Four 8 by 8 matrices of bfloat16, a thread's pairs as sums have them; thread t gives the address
// of row t % 8 of matrix t / 8.
__device__ inline void StoreMatrices(uint32_t shared, uint32_t a, uint32_t b, uint32_t c,
                                     uint32_t d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared),
               "r"(a), "r"(b), "r"(c), "r"(d)
               : "memory");
}
__device__ inline uint4 LoadShared(uint32_t shared) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(shared)
               : "memory");
  return v;
}

// Rows of `kBlocks` blocks of 8 elements, given as pairs of bfloat16, `pair(block, half)`: `first`
// is the first block's number in a row of the output, `count` the number of blocks that there are.
// In shared memory chunk c (16 bytes) of row r lies at chunk c ^ (r % 8).
template <typename L, bool kInTiles, int kBlocks, typename Pair>
__device__ void StoreBFloat16(const GemmArgs& args, const typename L::Numbers& numbers, int first,
                              int count, uint32_t shared, Pair pair) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int chunk = lane % L::kChunks;
  const uint32_t target = shared + lane % 16 * kRowBytes + (((lane / 16) ^ (lane % 8)) << 4);
  uint32_t sources[L::kRows];
  char* rows[L::kRows];
#pragma unroll
  for (int i = 0; i < L::kRows; ++i) {
    const int swizzle = L::Row(i) % 8;  // a row's number mod 8 in tiles, too
    sources[i] = shared + L::Row(i) * kRowBytes + ((chunk ^ swizzle) << 4);
    const int64_t number = numbers.rows[i];
    const int64_t place = kInTiles ? (first / 8 * args.out_stored_rows + number) * kRowBytes +
                                         (((first % 8 + chunk) ^ swizzle) << 4)
                                   : number * args.out_stride * 2 + (first + chunk) * 16;
    rows[i] = static_cast<char*>(args.out) + place;
  }
#pragma unroll
  for (int begin = 0; begin < kBlocks; begin += L::kChunks) {
    if (begin >= count) break;
    __syncwarp();  // what was there has been read
#pragma unroll
    for (int c = 0; c < L::kChunks; c += 2) {
      StoreMatrices(target ^ (c << 4), pair(begin + c, 0), pair(begin + c, 1),
                    pair(begin + c + 1, 0), pair(begin + c + 1, 1));
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < L::kRows; ++i) {
      const uint4 values = LoadShared(sources[i]);
      if (numbers.rows[i] >= 0 && begin + chunk < count) {
        *reinterpret_cast<uint4*>(rows[i]) = values;
      }
      rows[i] += kInTiles ? args.out_stored_rows * kRowBytes : kRowBytes;
    }
  }
}

template <typename L, int kBlocks>
__device__ void StoreFloats(const GemmArgs& args, const typename L::Numbers& numbers, int column,
                            int count, const float (&sums)[kBlocks * 4]) {
  float* rows[L::kRows];
#pragma unroll
  for (int half = 0; half < L::kRows; ++half) {
    rows[half] = static_cast<float*>(args.out) + numbers.rows[half] * args.out_stride + column +
                 threadIdx.x % 4 * 2;
  }
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
    if (block >= count) break;
#pragma unroll
    for (int half = 0; half < L::kRows; ++half) {
      if (numbers.rows[half] < 0) continue;
      const float* pair = &sums[block * 4 + 2 * half];
      *reinterpret_cast<float2*>(rows[half] + block * 8) = {pair[0], pair[1]};
    }
  }
}

// A warp's rows of a tile. `shared` is the warp's for rows that leave.
template <int kColumns, Epilogue kEpilogue>
__device__ void StoreTile(const GemmArgs& args, const TileWork& work,
                          const typename Leaving<kColumns, kEpilogue>::Numbers& numbers,
                          uint32_t shared, float (&sums)[kColumns / 2]) {
  using L = Leaving<kColumns, kEpilogue>;
  const ColumnTile& columns = work.columns;
  const TiledWeights& weights = args.weights[columns.weights];
  const int blocks = (columns.end - columns.begin) / 8;
  if (weights.bias != nullptr) {
    AddBias<kColumns>(weights.bias + work.rows.expert * weights.columns + columns.begin, blocks,
                      sums);
  }
  const int column = args.out_column[columns.weights] + columns.begin;
  if constexpr (kEpilogue == Epilogue::kFloat32) {
    StoreFloats<L, kColumns / 8>(args, numbers, column, blocks, sums);
  } else if constexpr (kEpilogue == Epilogue::kBFloat16) {
    StoreBFloat16<L, false, kColumns / 8>(
        args, numbers, column / 8, blocks, shared, [&](int block, int half) {
          return PackPair(sums[block * 4 + 2 * half], sums[block * 4 + 2 * half + 1]);
        });
  } else {
    StoreBFloat16<L, true, kColumns / 16>(
        args, numbers, column / 16, blocks / 2, shared, [&](int block, int half) {
          const float* gate = &sums[block * 8 + 2 * half];
          const float* up = gate + 4;
          return PackPair(Activate<kEpilogue>(args, gate[0], up[0]),
                          Activate<kEpilogue>(args, gate[1], up[1]));
        });
  }
}

}  // namespace expertile::cuda
