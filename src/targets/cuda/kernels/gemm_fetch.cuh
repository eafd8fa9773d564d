// What a matrix product's fetching warpgroup does: rows and columns of step after step to the ring
// of stages. Not the products: gemm.cu. MXFP4's are gemm_mxfp4_fetch.cuh's.
#pragma once

#include "targets/cuda/kernels/gemm_stages.cuh"
#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/tensor_map.cuh"

namespace expertile::cuda {

// One thread's part of gathering rows: chunk `thread % 8` of every kThreads / 8-th row.
template <int kRows, int kThreads>
struct RowFetcher {
  static constexpr int kStep = kThreads / 8;
  static constexpr int kCount = kRows / kStep;
  int32_t gathered[kCount];  // of the next tile: assignments
  const __nv_bfloat16*
      sources[kCount];  // null: a row past the tile's last, whose product is never looked at

  // Begins to read where the tile's rows lie.
  __device__ void Ask(const GemmArgs& args, const RowTile& tile, int thread) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int packed = tile.begin + thread / 8 + kStep * i;
      if (packed < tile.end) gathered[i] = args.gather[packed];
    }
  }
  __device__ void Begin(const GemmArgs& args, const RowTile& tile, int thread) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int packed = tile.begin + thread / 8 + kStep * i;
      sources[i] = nullptr;
      if (packed >= tile.end) continue;
      const int row = gathered[i] / args.gather_divisor;
      sources[i] = args.rows + row * args.row_stride + thread % 8 * 8;
    }
  }
  __device__ void Fetch(int depth_tile, uint32_t shared, int thread) const {
    const int row = thread / 8;
    const uint32_t target = shared + row * kRowBytes + ((thread % 8 ^ row % 8) << 4);
    const int64_t depth = int64_t{depth_tile} * kTileDepth;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (sources[i] != nullptr) CopyChunk(target + kStep * i * kRowBytes, sources[i] + depth);
    }
  }
};

// What a thread copies whole in each step of a tile: its columns, its rows where they lie in tiles,
// or both. Addresses are found once a tile: who starts the copies of a step has little time.
template <int kRows, int kColumns>
class WholeCopies {
  using S = Shape<kRows, kColumns>;

 public:
  __device__ WholeCopies(const GemmArgs& args, const Ring& ring)
      : args_(args), stages_(ring.stages), full_(SharedAddress(ring.full)) {}

  __device__ void Begin(const TileWork& work) {
    const TiledWeights& weights = args_.weights[work.columns.weights];
    columns_ = weights.data + work.rows.expert * weights.bytes_per_expert +
               static_cast<int64_t>(work.columns.begin) * kRowBytes;
    columns_step_ = weights.columns * kRowBytes;
    column_bytes_ = static_cast<uint32_t>(work.columns.end - work.columns.begin) * kRowBytes;
    rows_ = args_.rows + static_cast<int64_t>(work.rows.stored) * kTileDepth;
    row_bytes_ = static_cast<uint32_t>(work.rows.end - work.rows.begin) * kRowBytes;
  }
  // Of the next step; `others` bytes come by other threads' copies.
  __device__ void StartColumns(int stage, uint32_t others) {
    const uint32_t barrier = full_ + 8 * stage;
    ArriveExpecting(barrier, column_bytes_ + others);
    BulkCopy(stages_ + stage * S::kStageBytes + S::kRowsBytes, columns_, column_bytes_, barrier);
    columns_ += columns_step_;
  }
  __device__ void StartStoredRows(int stage) {
    BulkCopy(stages_ + stage * S::kStageBytes, rows_, row_bytes_, full_ + 8 * stage);
    rows_ += args_.stored_rows * kTileDepth;
  }
  __device__ uint32_t row_bytes() const { return row_bytes_; }

 private:
  const GemmArgs& args_;
  uint32_t stages_;
  uint32_t full_;
  const std::byte* columns_;
  int64_t columns_step_;
  uint32_t column_bytes_;
  const __nv_bfloat16* rows_;
  uint32_t row_bytes_;
};

// One thread's walk over all steps of all tiles of experts of its block: of a thread alone where
// rows lie in tiles, else of each of those that gather, the first of which copies columns, too.
template <int kRows, int kColumns>
class Fetcher {
  using S = Shape<kRows, kColumns>;

 public:
  __device__ Fetcher(const GemmArgs& args, const Ring& ring)
      : args_(args), ring_(ring), order_(args), whole_(args, ring), depth_(args.depth_tiles) {}

  // Starts the copies of the next step, or tells that there is none.
  __device__ bool Step() {
    const int thread = static_cast<int>(threadIdx.x);
    if (depth_ == args_.depth_tiles) BeginTile();
    const int stage = place_.stage;
    Wait(&ring_.empty[stage], place_.round ^ 1);
    if (thread == 0 && depth_ == 0) ring_.work[stage] = work_;
    if (work_.IsEnd()) {
      if (thread == 0) Arrive(&ring_.full[stage]);
      if (!is_whole_) Arrive(&ring_.full[stage]);
      return false;
    }
    if (thread == 0) {
      whole_.StartColumns(stage, is_whole_ ? whole_.row_bytes() : 0);
      if (is_whole_) whole_.StartStoredRows(stage);
    }
    if (!is_whole_) {
      rows_.Fetch(depth_, ring_.stages + stage * S::kStageBytes, thread);
      ArriveAfterCopies(&ring_.full[stage]);
    }
    if (preparing_ < kPrepared) Prepare();
    ++depth_;
    place_.Step();
    return true;
  }

 private:
  static constexpr int kPrepared = 4;

  // Gets the next tile ready, a little in each step of the one before, so that nothing is waited
  // for that takes long to come.
  __device__ void Prepare() {
    const int thread = static_cast<int>(threadIdx.x);
    switch (preparing_++) {
      case 0:
        if (thread == 0) order_.Ask();
        break;
      case 1:
        if (thread == 0) next_ = order_.WorkOf(order_.Claimed());
        break;
      case 2:
        if (is_whole_) break;
        is_odd_ = !is_odd_;
        if (thread == 0) ring_.announced[is_odd_] = next_;
        SyncThreads(kFetchBarrier, S::kFetchThreads);
        next_ = ring_.announced[is_odd_];
        break;
      case 3:
        if (!is_whole_) rows_.Ask(args_, next_.rows, thread);
        break;
    }
  }
  __device__ void BeginTile() {
    while (preparing_ < kPrepared) Prepare();
    work_ = next_;
    depth_ = 0;
    preparing_ = 0;
    if (threadIdx.x == 0) whole_.Begin(work_);
    if (!is_whole_) rows_.Begin(args_, work_.rows, static_cast<int>(threadIdx.x));
  }

  static constexpr int kFetchBarrier = 1;

  const GemmArgs& args_;
  const Ring& ring_;
  const bool is_whole_ = FetchesWhole(args_);
  TileOrder<kRows, kColumns> order_;  // the first thread's, as is the next
  WholeCopies<kRows, kColumns> whole_;
  RowFetcher<kRows, S::kFetchThreads> rows_;
  TileWork work_;
  TileWork next_;
  int depth_;
  int preparing_ = 0;
  bool is_odd_ = false;
  Place<S::kStages> place_;
};

// Of a dense product one thread copies columns, from before earlier kernels have ended on, as no
// kernel writes weights, and a thread of another warp rows: each step of a narrow tile takes no
// longer than the thread that is slower.
template <int kRows, int kColumns>
__device__ void FetchDenseColumns(const GemmArgs& args, const Ring& ring) {
  using S = Shape<kRows, kColumns>;
  TileOrder<kRows, kColumns> order(args);
  WholeCopies<kRows, kColumns> copies(args, ring);
  const uint32_t empty = SharedAddress(ring.empty);
  Place<S::kStages> place;
  while (true) {
    order.Ask();
    const TileWork work = order.WorkOf(order.Claimed());
    Wait(empty + 8 * place.stage, place.round ^ 1);
    ring.work[place.stage] = work;
    if (work.IsEnd()) return Arrive(&ring.full[place.stage]);
    copies.Begin(work);
    // What lies outside of the rows counts among a box's bytes.
    const uint32_t row_bytes = args.stored_rows != 0 ? copies.row_bytes() : S::kRowsBytes;
    for (int depth = 0; depth < args.depth_tiles; ++depth, place.Step()) {
      if (depth > 0) Wait(empty + 8 * place.stage, place.round ^ 1);
      copies.StartColumns(place.stage, row_bytes);
    }
  }
}

template <int kRows, int kColumns>
__device__ void FetchDenseRows(const GemmArgs& args, const CUtensorMap& row_map, const Ring& ring) {
  using S = Shape<kRows, kColumns>;
  TileOrder<kRows, kColumns> order(args);
  WholeCopies<kRows, kColumns> copies(args, ring);
  const uint32_t empty = SharedAddress(ring.empty);
  const uint32_t full = SharedAddress(ring.full);
  Place<S::kStages> place;
  WaitForEarlierKernels();
  while (true) {
    order.Ask();
    const TileWork work = order.WorkOf(order.Claimed());
    if (work.IsEnd()) return;
    copies.Begin(work);
    int column = 0;  // of a row's elements
    for (int depth = 0; depth < args.depth_tiles; ++depth, place.Step()) {
      Wait(empty + 8 * place.stage, place.round ^ 1);
      if (args.stored_rows != 0) {
        copies.StartStoredRows(place.stage);
        continue;
      }
      CopyBox(ring.stages + place.stage * S::kStageBytes, row_map, column, work.rows.begin,
              full + 8 * place.stage);
      column = depth + 1 == args.wrap_tiles ? 0 : column + kTileDepth;
    }
  }
}

template <int kRows, int kColumns>
__device__ void FetchTiles(const GemmArgs& args, const CUtensorMap& row_map, const Ring& ring) {
  const int thread = static_cast<int>(threadIdx.x);
  if (args.row_tiles == nullptr) {
    if (thread == 0) return FetchDenseColumns<kRows, kColumns>(args, ring);
    if (thread == 32) return FetchDenseRows<kRows, kColumns>(args, row_map, ring);
    return;
  }
  if (FetchesWhole(args) && thread != 0) return;
  Fetcher<kRows, kColumns> fetcher(args, ring);
  WaitForEarlierKernels();
  while (fetcher.Step()) {
  }
}

}  // namespace expertile::cuda
