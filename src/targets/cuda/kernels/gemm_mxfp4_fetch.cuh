// What the fetching warpgroup of the MXFP4 product does: rows, codes and scales of step after step
// to a ring of stages. Not the products: gemm_mxfp4.cu. A step is short, so little is left to do in
// it: all addresses are found once a tile, and three warps start one copy each.
#pragma once

#include "targets/cuda/kernels/barriers.cuh"
#include "targets/cuda/kernels/gemm_stages.cuh"
#include "targets/cuda/kernels/gemm_tiles.cuh"
#include "targets/cuda/kernels/tile_layout.h"

namespace expertile::cuda {

// A stage has up to kRows rows as they are multiplied, in 128 bytes each, and the codes and scales
// of kColumns columns as they lie in memory (TileLayout).
template <int kRows>
struct Mxfp4Shape {
  static constexpr int kColumns = kMxfp4TileColumns;
  static constexpr int kMaxBytes = 225 * 1024;
  static constexpr int kFetchThreads = kWarpgroup;
  static constexpr int kCopiers = 3;  // warps that have a bulk copy in a step, or might
  static constexpr int kMultipliers = kColumns / 64;  // warpgroups, of 64 columns each
  static constexpr int kThreads = kFetchThreads + kMultipliers * kWarpgroup;
  static constexpr int kRowsBytes = kRows * kRowBytes;
  static constexpr int kCodeBytes = kColumns * kTileDepth / 2;
  static constexpr int kScaleBytes = kColumns * 2;
  static constexpr int kStageBytes = kRowsBytes + kCodeBytes + kScaleBytes;
  static constexpr int kStages = kMaxBytes / kStageBytes < 12 ? kMaxBytes / kStageBytes : 12;
  static constexpr int kCodesBegin = kStages * kRowsBytes;  // past all stages' rows
  static constexpr int kBarriersBegin = kStages * kStageBytes;
  static constexpr int kWorkBegin = kBarriersBegin + RoundUp(2 * kStages * 8, 16);
  static constexpr int kSharedBytes =
      kWorkBegin + (kStages + 2) * static_cast<int>(sizeof(TileWork)) + 1024;
};

// What a block's warpgroups share, by addresses in shared memory. A tile's work is told in the
// stage of its first step.
template <int kRows>
class Mxfp4Ring {
  using S = Mxfp4Shape<kRows>;

 public:
  // Returns when all threads of the block may use it.
  __device__ explicit Mxfp4Ring(std::byte* dynamic) {
    const uint32_t base = SharedAddress(dynamic);
    const uint32_t begin = (base + 1023) / 1024 * 1024;
    work_ = reinterpret_cast<TileWork*>(dynamic + (begin - base) + S::kWorkBegin);
    // So that it is kept: the compiler would find it anew wherever it is used.
    begin_ = __shfl_sync(0xffffffff, begin, 0);
    if (threadIdx.x == 0) {
      for (int i = 0; i < S::kStages; ++i) {
        InitBarrier(full(i), S::kFetchThreads + S::kCopiers);
        InitBarrier(empty(i), S::kMultipliers * kWarpgroup);
      }
      FenceBarrierInit();
    }
    __syncthreads();
  }

  __device__ uint32_t rows(int stage) const { return begin_ + stage * S::kRowsBytes; }
  __device__ uint32_t codes(int stage) const {
    return begin_ + S::kCodesBegin + stage * (S::kCodeBytes + S::kScaleBytes);
  }
  __device__ uint32_t scales(int stage) const { return codes(stage) + S::kCodeBytes; }
  __device__ uint32_t full(int stage) const { return begin_ + S::kBarriersBegin + stage * 8; }
  __device__ uint32_t empty(int stage) const { return full(S::kStages + stage); }
  __device__ TileWork& work(int stage) const { return work_[stage]; }
  // Among the fetching threads, the next two tiles'.
  __device__ TileWork& announced(bool is_odd) const { return work_[S::kStages + is_odd]; }

 private:
  uint32_t begin_;
  TileWork* work_;
};

// One thread's walk over all steps of all tiles of its block.
template <int kRows>
class Mxfp4Fetcher {
  using S = Mxfp4Shape<kRows>;

 public:
  __device__ Mxfp4Fetcher(const GemmArgs& args, const Mxfp4Ring<kRows>& ring)
      : args_(args),
        ring_(ring),
        order_(args),
        thread_(static_cast<int>(threadIdx.x)),
        copies_(thread_ % 32 == 0 && thread_ / 32 < S::kCopiers),
        depth_(args.depth_tiles) {}

  __device__ void Run() {
    while (Step()) {
    }
  }

 private:
  static constexpr int kBetween = S::kFetchThreads / 8;  // a thread's rows: every so-many-th
  static constexpr int kCount = kRows / kBetween;
  static constexpr uint32_t kNone = ~0u;
  static constexpr int kPrepared = 4;
  static constexpr int kFetchBarrier = 1;

  // Starts the copies of the next step, or tells that there is none.
  __device__ bool Step() {
    if (depth_ == args_.depth_tiles) BeginTile();
    const int stage = place_.stage;
    const uint32_t full = ring_.full(stage);
    Wait(ring_.empty(stage), place_.round ^ 1);
    if (thread_ == 0 && depth_ == 0) ring_.work(stage) = work_;
    if (work_.IsEnd()) {
      if (copies_) Arrive(full);
      Arrive(full);
      return false;
    }
    if (copies_) {
      ArriveExpecting(full, copied_);
      if (copied_ != 0) BulkCopy(target_ + stage * target_step_, source_, copied_, full);
      source_ += source_step_;
    }
    if (args_.stored_rows == 0) FetchRows(stage);
    ArriveAfterCopies(full);
    if (preparing_ < kPrepared) Prepare();
    ++depth_;
    place_.Step();
    return true;
  }

  // Chunk thread_ % 8 of rows.
  __device__ void FetchRows(int stage) {
    const int row = thread_ / 8;
    const uint32_t target = ring_.rows(stage) + row * kRowBytes + ((thread_ % 8 ^ row % 8) << 4);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      CopyChunkIf(rows_[i] != kNone, target + kBetween * i * kRowBytes,
                  chunks_ + uint64_t{rows_[i]} * 16);
    }
    chunks_ += kRowBytes;
  }

  // Gets the next tile ready, a little in each step of the one before, so that nothing is waited
  // for that takes long to come.
  __device__ void Prepare() {
    switch (preparing_++) {
      case 0:
        if (thread_ == 0) order_.Ask();
        break;
      case 1:
        if (thread_ == 0) next_ = order_.WorkOf(order_.Claimed());
        break;
      case 2:
        is_odd_ = !is_odd_;
        if (thread_ == 0) ring_.announced(is_odd_) = next_;
        SyncThreads(kFetchBarrier, S::kFetchThreads);
        next_ = ring_.announced(is_odd_);
        break;
      case 3:
        AskForRows();
        break;
    }
  }
  __device__ void AskForRows() {
    if (args_.gather == nullptr) return;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int packed = next_.rows.begin + thread_ / 8 + kBetween * i;
      if (packed < next_.rows.end) gathered_[i] = args_.gather[packed];
    }
  }

  __device__ void BeginTile() {
    while (preparing_ < kPrepared) Prepare();
    work_ = next_;
    depth_ = 0;
    preparing_ = 0;
    FindRows();
    if (copies_) FindCopy(thread_ / 32);
  }
  __device__ void FindRows() {
    if (args_.stored_rows != 0) return;
    chunks_ = reinterpret_cast<const char*>(args_.rows) + thread_ % 8 * 16;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int packed = work_.rows.begin + thread_ / 8 + kBetween * i;
      rows_[i] = kNone;
      if (packed >= work_.rows.end) continue;
      const int row = args_.gather != nullptr ? gathered_[i] / args_.gather_divisor : packed;
      rows_[i] = static_cast<uint32_t>(row) * static_cast<uint32_t>(args_.row_stride / 8);
    }
  }
  // What the first thread of a warp copies in each step: codes, scales, or rows in tiles.
  __device__ void FindCopy(int warp) {
    const TiledWeights& weights = args_.weights[work_.columns.weights];
    const int64_t expert = work_.rows.expert;
    const auto stored = [](int64_t columns) {
      return (columns + kMxfp4Columns - 1) / kMxfp4Columns * kMxfp4Columns;
    };
    const auto columns = static_cast<uint32_t>(stored(work_.columns.end - work_.columns.begin));
    const auto row_bytes = static_cast<uint32_t>(
        args_.stored_rows != 0 ? (work_.rows.end - work_.rows.begin) * kRowBytes : 0);
    if (warp < 2) {
      const uint32_t bytes = warp == 0 ? kTileDepth / 2 : 2;  // of a column
      const auto* data =
          warp == 0 ? weights.data : reinterpret_cast<const std::byte*>(weights.scales);
      source_ = data + expert * (warp == 0 ? weights.bytes_per_expert : weights.scales_per_expert) +
                work_.columns.begin * bytes;
      source_step_ = stored(weights.columns) * bytes;
      copied_ = columns * bytes;
      target_ = warp == 0 ? ring_.codes(0) : ring_.scales(0);
      target_step_ = S::kCodeBytes + S::kScaleBytes;
    } else {
      source_ =
          reinterpret_cast<const std::byte*>(args_.rows) + int64_t{work_.rows.stored} * kRowBytes;
      source_step_ = args_.stored_rows * kRowBytes;
      copied_ = row_bytes;
      target_ = ring_.rows(0);
      target_step_ = S::kRowsBytes;
    }
  }

  const GemmArgs& args_;
  const Mxfp4Ring<kRows>& ring_;
  TileOrder<kRows, S::kColumns> order_;  // the first thread's
  int thread_;
  bool copies_;  // the first thread of a warp that has a bulk copy
  TileWork work_;
  TileWork next_;
  int depth_;
  int preparing_ = 0;
  bool is_odd_ = false;
  Place<S::kStages> place_;
  int32_t gathered_[kCount];  // of the next tile: assignments
  // Where this thread's rows begin, in 16 bytes from the first. kNone: past the tile's last, whose
  // product is never looked at.
  uint32_t rows_[kCount];
  const char* chunks_ = nullptr;       // its chunk of the next step, of the first row
  const std::byte* source_ = nullptr;  // of its copy of the next step
  int64_t source_step_ = 0;
  uint32_t copied_ = 0;  // bytes of it; 0: rows that are gathered
  uint32_t target_ = 0;  // in the first stage
  uint32_t target_step_ = 0;
};

}  // namespace expertile::cuda
