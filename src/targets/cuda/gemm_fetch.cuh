// What a matrix product's fetching warpgroup does: rows and columns of step after step to the ring
// of stages. Not the products: gemm.cu. MXFP4's are gemm_mxfp4_fetch.cuh's.
#pragma once

#include "targets/cuda/gemm_stages.cuh"
#include "targets/cuda/launch.cuh"
#include "targets/cuda/tensor_map.cuh"

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
    if (args.gather == nullptr) return;
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
      if (packed >= tile.end || args.stored_rows != 0) continue;
      const int row = args.gather != nullptr ? gathered[i] / args.gather_divisor : packed;
      sources[i] = args.rows + row * args.row_stride + thread % 8 * 8;
    }
  }
  __device__ void Fetch(const GemmArgs& args, int depth_tile, uint32_t shared, int thread) const {
    const int row = thread / 8;
    const uint32_t target = shared + row * kRowBytes + ((thread % 8 ^ row % 8) << 4);
    const int64_t depth =
        static_cast<int64_t>(depth_tile >= args.wrap_tiles ? depth_tile - args.wrap_tiles
                                                           : depth_tile) *
        kTileDepth;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (sources[i] != nullptr) CopyChunk(target + kStep * i * kRowBytes, sources[i] + depth);
    }
  }
};

// One thread's walk over all steps of all tiles of its block. Where steps are fetched whole there
// is no other thread's.
template <int kRows, int kColumns>
class Fetcher {
  using S = Shape<kRows, kColumns>;

 public:
  __device__ Fetcher(const GemmArgs& args, const CUtensorMap& row_map, const Ring& ring)
      : args_(args), row_map_(row_map), ring_(ring), order_(args), depth_(args.depth_tiles) {}

  // Starts the copies of a dense product's first columns: no earlier kernel writes weights.
  __device__ void BeginColumns() {
    if (args_.row_tiles != nullptr || threadIdx.x != 0) return;
    TileOrder<kRows, kColumns> order(args_);
    TileWork work{};
    for (int depth = args_.depth_tiles; begun_ < S::kStages; ++begun_, ++depth) {
      if (depth == args_.depth_tiles) {
        order.Ask();
        work = order.WorkOf(order.Claimed());
        if (work.IsEnd()) return;
        depth = 0;
      }
      if (depth == 0) ring_.work[begun_] = work;
      ArriveExpecting(&ring_.full[begun_], BytesOf(work));
      FetchColumns(work, depth, begun_);
    }
  }

  // Starts the copies of the next step, or tells that there is none.
  __device__ bool Step() {
    const int thread = static_cast<int>(threadIdx.x);
    if (depth_ == args_.depth_tiles) BeginTile();
    const int stage = place_.stage;
    Wait(&ring_.empty[stage], place_.round ^ 1);
    if (thread == 0 && depth_ == 0 && begun_ == 0) ring_.work[stage] = work_;
    if (work_.IsEnd()) {
      if (thread == 0) Arrive(&ring_.full[stage]);
      if (!is_whole_) Arrive(&ring_.full[stage]);
      return false;
    }
    if (thread == 0) FetchWhole(stage);
    if (!is_whole_) {
      rows_.Fetch(args_, depth_, ring_.stages + stage * S::kStageBytes, thread);
      ArriveAfterCopies(&ring_.full[stage]);
    }
    if (preparing_ < kPrepared) Prepare();
    ++depth_;
    place_.Step();
    return true;
  }

 private:
  static constexpr int kPrepared = 4;
  __device__ bool HasStoredRows() const { return args_.stored_rows != 0; }
  // What is copied at once in a step.
  __device__ uint32_t BytesOf(const TileWork& work) const {
    const auto columns = static_cast<uint32_t>(work.columns.end - work.columns.begin);
    const auto rows = static_cast<uint32_t>(work.rows.end - work.rows.begin);
    const uint32_t counted_rows = HasStoredRows() ? rows : is_whole_ ? kRows : 0;
    return (columns + counted_rows) * kRowBytes;
  }

  __device__ void FetchColumns(const TileWork& work, int depth, int stage) {
    const TiledWeights& weights = args_.weights[work.columns.weights];
    const int expert = work.rows.expert;
    const auto count = static_cast<uint32_t>(work.columns.end - work.columns.begin);
    const int64_t first = depth * weights.columns + work.columns.begin;
    const std::byte* data = weights.data + expert * weights.bytes_per_expert;
    BulkCopy(ring_.stages + stage * S::kStageBytes + S::kRowsBytes, data + first * kRowBytes,
             count * kRowBytes, &ring_.full[stage]);
  }

  // One thread's copies of a step: columns, unless they are on their way, and rows that are not
  // gathered.
  __device__ void FetchWhole(int stage) {
    uint64_t* barrier = &ring_.full[stage];
    if (begun_ > 0) {
      --begun_;
    } else {
      ArriveExpecting(barrier, BytesOf(work_));
      FetchColumns(work_, depth_, stage);
    }
    const uint32_t target = ring_.stages + stage * S::kStageBytes;
    if (is_whole_ && !HasStoredRows()) {
      const int depth = depth_ >= args_.wrap_tiles ? depth_ - args_.wrap_tiles : depth_;
      CopyBox(target, row_map_, depth * kTileDepth, work_.rows.begin, barrier);
    }
    if (!HasStoredRows()) return;
    BulkCopy(target, args_.rows + (depth_ * args_.stored_rows + work_.rows.stored) * kTileDepth,
             static_cast<uint32_t>(work_.rows.end - work_.rows.begin) * kRowBytes, barrier);
  }

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
    if (!is_whole_) rows_.Begin(args_, work_.rows, static_cast<int>(threadIdx.x));
  }

  static constexpr int kFetchBarrier = 1;

  const GemmArgs& args_;
  const CUtensorMap& row_map_;  // of rows that lie one after another
  const Ring& ring_;
  const bool is_whole_ = FetchesWhole(args_);
  TileOrder<kRows, kColumns> order_;  // the first thread's
  RowFetcher<kRows, S::kFetchThreads> rows_;
  TileWork work_;
  TileWork next_;
  int depth_;
  int preparing_ = 0;
  bool is_odd_ = false;
  int begun_ = 0;  // steps whose columns are on their way already
  Place<S::kStages> place_;
};

template <int kRows, int kColumns>
__device__ void FetchTiles(const GemmArgs& args, const CUtensorMap& row_map, const Ring& ring) {
  if (FetchesWhole(args) && threadIdx.x != 0) return;
  Fetcher<kRows, kColumns> fetcher(args, row_map, ring);
  fetcher.BeginColumns();
  WaitForEarlierKernels();
  while (fetcher.Step()) {
  }
}

}  // namespace expertile::cuda
