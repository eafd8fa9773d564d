// Which tiles of a matrix product a block of threads computes, and in which order.
// Not how: gemm.cu.
#pragma once

#include "targets/cuda/gemm.h"

namespace expertile::cuda {

// Where a tile's columns lie: in which of the side-by-side weights, from which column on.
struct ColumnTile {
  int weights;
  int begin;
  int end;
};

template <int kColumns>
__device__ int NumColumnTiles(const GemmArgs& args) {
  int count = 0;
  for (int i = 0; i < args.num_weights; ++i) {
    count += static_cast<int>((args.weights[i].columns + kColumns - 1) / kColumns);
  }
  return count;
}

template <int kColumns>
__device__ ColumnTile FindColumnTile(const GemmArgs& args, int tile) {
  int i = 0;
  for (; i + 1 < args.num_weights; ++i) {
    const int count = static_cast<int>((args.weights[i].columns + kColumns - 1) / kColumns);
    if (tile < count) break;
    tile -= count;
  }
  const int columns = static_cast<int>(args.weights[i].columns);
  return {i, tile * kColumns, min(columns, (tile + 1) * kColumns)};
}

// This block's tiles, one after another: of a dense product every gridDim-th; of experts those of
// the NSPs that this block's multiprocessor belongs to. An NSP owns multiprocessors that follow
// each other; with more NSPs than blocks, a block runs several NSPs one after another.
template <int kRows, int kColumns>
class TileCursor {
 public:
  __device__ explicit TileCursor(const GemmArgs& args)
      : args_(args), column_tiles_(NumColumnTiles<kColumns>(args)) {
    if (args.row_tiles == nullptr) {
      const int row_tiles = (static_cast<int>(args.num_rows) + kRows - 1) / kRows;
      next_ = static_cast<int>(blockIdx.x);
      end_ = row_tiles * column_tiles_;
      step_ = static_cast<int>(gridDim.x);
      nsp_ = 1 << 30;
    } else {
      const int blocks = static_cast<int>(gridDim.x);
      const int block = static_cast<int>(blockIdx.x);
      nsp_ = args.num_nsp <= blocks ? ((block + 1) * args.num_nsp - 1) / blocks : block;
      BeginNsp();
    }
  }

  __device__ bool Next(RowTile& tile, ColumnTile& columns) {
    while (next_ >= end_) {
      if (nsp_ >= args_.num_nsp - static_cast<int>(gridDim.x)) return false;
      nsp_ += static_cast<int>(gridDim.x);
      BeginNsp();
    }
    const int row_tile = next_ / column_tiles_;
    columns = FindColumnTile<kColumns>(args_, next_ % column_tiles_);
    next_ += step_;
    if (args_.row_tiles != nullptr) {
      tile = args_.row_tiles[row_tile];
    } else {
      const int begin = row_tile * kRows;
      tile = {0, begin, min(static_cast<int>(args_.num_rows), begin + kRows), 0};
    }
    return true;
  }

 private:
  __device__ void BeginNsp() {
    const int blocks = static_cast<int>(gridDim.x);
    const int block = static_cast<int>(blockIdx.x);
    const bool shares = args_.num_nsp <= blocks;
    const int first = shares ? nsp_ * blocks / args_.num_nsp : block;
    step_ = shares ? (nsp_ + 1) * blocks / args_.num_nsp - first : 1;
    next_ = args_.nsp_offsets[nsp_] * column_tiles_ + block - first;
    end_ = args_.nsp_offsets[nsp_ + 1] * column_tiles_;
  }

  const GemmArgs& args_;
  int column_tiles_;
  int nsp_ = 0;
  int next_ = 0;
  int end_ = 0;
  int step_ = 1;
};

}  // namespace expertile::cuda
