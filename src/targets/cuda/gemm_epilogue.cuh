// What follows a matrix product on its way from registers to memory: bias, activation, rounding.
// Not the product: gemm.cu.
#pragma once

#include <cuda_bf16.h>

#include "targets/cuda/gemm.h"
#include "targets/cuda/gemm_tiles.cuh"
#include "targets/cuda/mma.cuh"
#include "targets/cuda/tile_layout.h"

namespace expertile::cuda {

// Which rows of the output, or of rows in tiles, a multiplying thread's two rows of a tile become.
struct RowNumbers {
  int32_t rows[2];  // negative: past the tile's last
};

// Where they begin.
struct OutputRows {
  char* rows[2];  // null: past the tile's last
};

template <Epilogue kEpilogue>
inline constexpr bool kStoresTiles = kEpilogue == Epilogue::kSilu || kEpilogue == Epilogue::kSwiGlu;

// Asked for before a tile's products and used after them: the numbers take a while to come.
template <Epilogue kEpilogue>
__device__ RowNumbers FindRowNumbers(const GemmArgs& args, const RowTile& tile, int row) {
  RowNumbers numbers;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int inside = row + 8 * half;
    numbers.rows[half] = -1;
    if (tile.begin + inside >= tile.end) continue;
    if constexpr (kStoresTiles<kEpilogue>) {
      numbers.rows[half] = tile.stored + inside;
    } else {
      numbers.rows[half] =
          args.scatter != nullptr ? args.scatter[tile.begin + inside] : tile.begin + inside;
    }
  }
  return numbers;
}

template <Epilogue kEpilogue>
__device__ OutputRows FindOutputRows(const GemmArgs& args, const RowNumbers& numbers) {
  const int64_t row_bytes = kStoresTiles<kEpilogue>           ? kTileDepth * 2
                            : kEpilogue == Epilogue::kFloat32 ? args.out_stride * 4
                                                              : args.out_stride * 2;
  OutputRows output;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = numbers.rows[half];
    output.rows[half] = row < 0 ? nullptr : static_cast<char*>(args.out) + row * row_bytes;
  }
  return output;
}

// Thread q of four holds pairs of columns 2 q of four blocks of 8; it gets all of block q.
__device__ inline uint4 GatherBlock(uint32_t (&pairs)[4], int q) {
  const bool odd = (q & 1) != 0;
  const bool high = (q & 2) != 0;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {  // blocks i and i + 1 change places between q and q ^ 1
    const uint32_t sent = odd ? pairs[i] : pairs[i + 1];
    const uint32_t got = __shfl_xor_sync(0xffffffff, sent, 1);
    (odd ? pairs[i] : pairs[i + 1]) = got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {  // i and i + 2 between q and q ^ 2
    const uint32_t sent = high ? pairs[i] : pairs[i + 2];
    const uint32_t got = __shfl_xor_sync(0xffffffff, sent, 2);
    (high ? pairs[i] : pairs[i + 2]) = got;
  }
  return {pairs[0], pairs[1], pairs[2], pairs[3]};
}

// Where block `block` of 8 columns of a row's elements lies, in bytes.
template <bool kInTiles>
__device__ inline int64_t BlockOffset(const GemmArgs& args, int block) {
  if constexpr (!kInTiles) return block * 16;
  const int swizzle = static_cast<int>(threadIdx.x) % 32 / 4;  // a row's number mod 8
  return block / 8 * args.out_stored_rows * (kTileDepth * 2) + ((block % 8 ^ swizzle) << 4);
}

// Blocks of 8 columns as pairs of bfloat16: `pair(block, half)`; `first` is the first block's
// number in a row of the output, `count` the number of blocks that there are.
template <int kBlocks, bool kInTiles, typename Pair>
__device__ void StoreBFloat16(const GemmArgs& args, const OutputRows& output, int first, int count,
                              Pair pair) {
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int block = 0; block < kBlocks; block += kBlocks < 4 ? 1 : 4) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      char* row = output.rows[half];
      if constexpr (kBlocks < 4) {
        const uint32_t value = pair(block, half);
        if (row == nullptr || block >= count) continue;
        row += BlockOffset<kInTiles>(args, first + block);
        *reinterpret_cast<uint32_t*>(row + 4 * q) = value;
      } else {
        uint32_t pairs[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) pairs[i] = pair(block + i, half);
        const uint4 values = GatherBlock(pairs, q);
        if (row == nullptr || block + q >= count) continue;
        row += BlockOffset<kInTiles>(args, first + block + q);
        *reinterpret_cast<uint4*>(row) = values;
      }
    }
  }
}

template <Epilogue kEpilogue>
__device__ inline float Activate(const GemmArgs& args, float gate, float up) {
  if constexpr (kEpilogue == Epilogue::kSilu) {
    return __fdividef(gate, 1.0f + __expf(-gate)) * up;
  } else {
    const float g = gate < args.limit || isnan(gate) ? gate : args.limit;
    const float u = up < -args.limit ? -args.limit : (up > args.limit ? args.limit : up);
    return __fdividef((u + 1.0f) * g, 1.0f + __expf(-args.alpha * g));
  }
}

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

template <int kColumns, Epilogue kEpilogue>
__device__ void StoreTile(const GemmArgs& args, const TileWork& work, const RowNumbers& numbers,
                          float (&sums)[kColumns / 2]) {
  const OutputRows output = FindOutputRows<kEpilogue>(args, numbers);
  const int q = static_cast<int>(threadIdx.x) % 4;
  const ColumnTile& columns = work.columns;
  const TiledWeights& weights = args.weights[columns.weights];
  const int blocks = (columns.end - columns.begin) / 8;
  if (weights.bias != nullptr) {
    AddBias<kColumns>(weights.bias + work.rows.expert * weights.columns + columns.begin, blocks,
                      sums);
  }
  const int column = args.out_column[columns.weights] + columns.begin;
  if constexpr (kEpilogue == Epilogue::kFloat32) {
#pragma unroll
    for (int block = 0; block < kColumns / 8; ++block) {
      if (block >= blocks) break;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (output.rows[half] == nullptr) continue;
        *reinterpret_cast<float2*>(output.rows[half] + (column + block * 8 + 2 * q) * 4) = {
            sums[block * 4 + 2 * half], sums[block * 4 + 2 * half + 1]};
      }
    }
  } else if constexpr (kEpilogue == Epilogue::kBFloat16) {
    StoreBFloat16<kColumns / 8, false>(args, output, column / 8, blocks, [&](int block, int half) {
      return PackPair(sums[block * 4 + 2 * half], sums[block * 4 + 2 * half + 1]);
    });
  } else {
    StoreBFloat16<kColumns / 16, true>(args, output, column / 16, blocks / 2,
                                       [&](int block, int half) {
                                         const float* gate = &sums[block * 8 + 2 * half];
                                         const float* up = gate + 4;
                                         return PackPair(Activate<kEpilogue>(args, gate[0], up[0]),
                                                         Activate<kEpilogue>(args, gate[1], up[1]));
                                       });
  }
}

}  // namespace expertile::cuda
