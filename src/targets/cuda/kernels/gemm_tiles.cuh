// Which tiles of a matrix product a block of threads computes, and in which order.
// Not how: gemm.cu.
#pragma once

#include "targets/cuda/kernels/gemm.h"

namespace expertile::cuda {

// Where a tile's columns lie: in which of the side-by-side weights, from which column on.
struct ColumnTile {
  int32_t weights;
  int32_t begin;
  int32_t end;
};

// What a block does next; `rows.end` < 0: nothing more.
struct TileWork {
  RowTile rows;
  ColumnTile columns;
  int32_t unused;

  __device__ bool IsEnd() const { return rows.end < 0; }
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

// The order in which a block takes tiles: of a dense product every gridDim-th, of experts those of
// the NSPs that its multiprocessor belongs to. An NSP owns multiprocessors that follow each other.
// With GemmArgs::claims its blocks take tiles as they get free: tiles that share rows or weights
// then begin at about the same time, however long each takes, and find them in the second-level
// cache. With more NSPs than blocks, a block runs several NSPs one after another. One thread of a
// block asks.
template <int kRows, int kColumns>
class TileOrder {
 public:
  __device__ explicit TileOrder(const GemmArgs& args)
      : args_(args), column_tiles_(NumColumnTiles<kColumns>(args)) {
    const int blocks = static_cast<int>(gridDim.x);
    const int block = static_cast<int>(blockIdx.x);
    if (args.row_tiles == nullptr) {
      next_ = block;
      end_ = (static_cast<int>(args.num_rows) + kRows - 1) / kRows * column_tiles_;
      step_ = blocks;
      nsp_ = args.num_nsp;
    } else {
      nsp_ = args.num_nsp <= blocks ? ((block + 1) * args.num_nsp - 1) / blocks : block;
      BeginNsp();
    }
  }

  // Asks for the next tile, whose number Claimed() gives, once: -1 after the last. What is asked
  // takes a while to come.
  __device__ void Ask() {
    if (is_first_) {
      is_first_ = false;
    } else if (args_.claims != nullptr && step_ > 1) {
      next_ = begin_ + step_ + atomicAdd(&args_.claims[nsp_], 1);
    } else {
      next_ += step_;
    }
  }
  __device__ int Claimed() {
    while (next_ >= end_) {
      if (nsp_ >= args_.num_nsp - static_cast<int>(gridDim.x)) return -1;
      nsp_ += static_cast<int>(gridDim.x);
      BeginNsp();
    }
    return next_;
  }
  __device__ TileWork WorkOf(int tile) const {
    if (tile < 0) return {{0, 0, -1, 0}, {0, 0, 0}, 0};
    const int row_tile = tile / column_tiles_;
    const ColumnTile columns = FindColumnTile<kColumns>(args_, tile % column_tiles_);
    if (args_.row_tiles != nullptr) return {args_.row_tiles[row_tile], columns, 0};
    const int begin = row_tile * kRows;
    return {{0, begin, min(static_cast<int>(args_.num_rows), begin + kRows), begin}, columns, 0};
  }

 private:
  __device__ void BeginNsp() {
    const int blocks = static_cast<int>(gridDim.x);
    const int block = static_cast<int>(blockIdx.x);
    const bool shares = args_.num_nsp <= blocks;
    const int first = shares ? nsp_ * blocks / args_.num_nsp : block;
    step_ = shares ? (nsp_ + 1) * blocks / args_.num_nsp - first : 1;
    begin_ = args_.nsp_offsets[nsp_] * column_tiles_;
    next_ = begin_ + block - first;
    end_ = args_.nsp_offsets[nsp_ + 1] * column_tiles_;
  }

  const GemmArgs& args_;
  int column_tiles_;
  int nsp_ = 0;
  int begin_ = 0;
  int next_ = 0;
  int end_ = 0;
  int step_ = 1;
  bool is_first_ = true;
};

}  // namespace expertile::cuda
