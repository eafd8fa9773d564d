// A persistent matrix product of gathered rows and tiles of weights: a warpgroup fetches, one or
// two multiply (wgmma) and run the epilogue. Each element of a result accumulates over the depth in
// steps of 16 from the first on, whatever the tile: results are the same bits for every tile shape,
// number of rows and order of tiles.
#include "targets/cuda/barriers.cuh"
#include "targets/cuda/gemm.h"
#include "targets/cuda/gemm_epilogue.cuh"
#include "targets/cuda/gemm_tiles.cuh"
#include "targets/cuda/launch.cuh"
#include "targets/cuda/mxfp4.cuh"
#include "targets/cuda/tile_layout.h"
#include "targets/cuda/wgmma.cuh"

namespace expertile::cuda {
namespace {

constexpr int kWarpgroup = 128;
constexpr int kRowBytes = kTileDepth * 2;  // of a tile's row in shared memory
constexpr int kMaxStageBytes = 225 * 1024;

template <int kRows, int kColumns, bool kIsMxfp4>
struct Shape {
  static constexpr int kMultipliers = kRows / 64;  // warpgroups
  static constexpr int kThreads = (1 + kMultipliers) * kWarpgroup;
  static constexpr int kRowsBytes = kRows * kRowBytes;
  static constexpr int kStageBytes = kRowsBytes + kColumns * kRowBytes;
  // MXFP4: blocks as they lie in memory, and their scales.
  static constexpr int kCodeBytes = kIsMxfp4 ? kColumns * kTileDepth / 2 : 0;
  static constexpr int kScaleBytes = kIsMxfp4 ? kColumns * 2 : 0;
  static constexpr int kAllBytes = kStageBytes + kCodeBytes + kScaleBytes;
  static constexpr int kStages = kMaxStageBytes / kAllBytes < 12 ? kMaxStageBytes / kAllBytes : 12;
  [[maybe_unused]] static constexpr int kCodesBegin = kStages * kStageBytes;
  static constexpr int kBarriersBegin = kStages * kAllBytes;
  static constexpr int kSharedBytes = kBarriersBegin + 1024 + 3 * kStages * 8;
};

// A place in the ring of stages: its index, and how often the ring has been gone round.
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

// Of each stage; full_codes is MXFP4's, before its codes are made weights.
struct Barriers {
  uint64_t* full;
  uint64_t* empty;
  uint64_t* full_codes;
};

// One thread's part of fetching rows: chunk `thread % 8` of every 16th row.
template <int kRows>
struct RowFetcher {
  static constexpr int kCount = kRows / 16;
  const __nv_bfloat16*
      sources[kCount];  // null: a row past the tile's last, whose product is never looked at

  __device__ void Begin(const GemmArgs& args, const RowTile& tile, int thread) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int packed = tile.begin + thread / 8 + 16 * i;
      sources[i] = nullptr;
      if (packed >= tile.end) continue;
      const int row = args.gather != nullptr ? args.gather[packed] / args.gather_divisor : packed;
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
      if (sources[i] != nullptr) CopyChunk(target + 16 * i * kRowBytes, sources[i] + depth);
    }
  }
};

template <typename S, bool kIsMxfp4>
__device__ void FetchColumns(const TiledWeights& weights, int expert, const ColumnTile& columns,
                             int depth, int stage, uint32_t shared, const Barriers& barriers) {
  const auto count = static_cast<uint32_t>(columns.end - columns.begin);
  const int64_t first = depth * weights.columns + columns.begin;
  const std::byte* data = weights.data + expert * weights.bytes_per_expert;
  if constexpr (kIsMxfp4) {
    const uint32_t codes = shared + S::kCodesBegin + stage * (S::kCodeBytes + S::kScaleBytes);
    uint64_t* barrier = &barriers.full_codes[stage];
    ArriveExpecting(barrier, count * (kTileDepth / 2 + 2));
    BulkCopy(codes, data + first * (kTileDepth / 2), count * (kTileDepth / 2), barrier);
    BulkCopy(codes + S::kCodeBytes, weights.scales + expert * weights.scales_per_expert + first * 2,
             count * 2, barrier);
  } else {
    uint64_t* barrier = &barriers.full[stage];
    ArriveExpecting(barrier, count * kRowBytes);
    BulkCopy(shared + stage * S::kStageBytes + S::kRowsBytes, data + first * kRowBytes,
             count * kRowBytes, barrier);
  }
}

// The fetching warpgroup's walk over all steps of all tiles.
template <int kRows, int kColumns, bool kIsMxfp4>
class Fetcher {
  using S = Shape<kRows, kColumns, kIsMxfp4>;

 public:
  __device__ Fetcher(const GemmArgs& args, uint32_t shared, const Barriers& barriers)
      : args_(args),
        shared_(shared),
        barriers_(barriers),
        cursor_(args),
        depth_(args.depth_tiles) {}

  // Starts the copies of a dense product's first columns: no earlier kernel writes weights.
  __device__ void BeginColumns() {
    if (args_.row_tiles != nullptr || threadIdx.x != 0) return;
    TileCursor<kRows, kColumns> cursor(args_);
    RowTile tile;
    ColumnTile columns;
    for (int depth = args_.depth_tiles; begun_ < S::kStages; ++begun_, ++depth) {
      if (depth == args_.depth_tiles) {
        if (!cursor.Next(tile, columns)) return;
        depth = 0;
      }
      FetchColumns<S, kIsMxfp4>(args_.weights[columns.weights], tile.expert, columns, depth, begun_,
                                shared_, barriers_);
    }
  }

  // Starts the copies of the next step, if there is one.
  __device__ bool Step() {
    const int thread = static_cast<int>(threadIdx.x);
    if (depth_ == args_.depth_tiles) {
      if (!cursor_.Next(tile_, columns_)) return false;
      depth_ = 0;
      rows_.Begin(args_, tile_, thread);
    }
    const int stage = place_.stage;
    Wait(&barriers_.empty[stage], place_.round ^ 1);
    if (thread == 0 && begun_ > 0) {
      --begun_;
    } else if (thread == 0) {
      FetchColumns<S, kIsMxfp4>(args_.weights[columns_.weights], tile_.expert, columns_, depth_,
                                stage, shared_, barriers_);
    }
    rows_.Fetch(args_, depth_, shared_ + stage * S::kStageBytes, thread);
    ArriveAfterCopies(&barriers_.full[stage]);
    ++depth_;
    place_.Step();
    return true;
  }

 private:
  const GemmArgs& args_;
  uint32_t shared_;
  const Barriers& barriers_;
  TileCursor<kRows, kColumns> cursor_;
  RowFetcher<kRows> rows_;
  RowTile tile_;
  ColumnTile columns_;
  int depth_;
  int begun_ = 0;  // steps whose columns are on their way already
  Place<S::kStages> place_;
};

template <int kRows, int kColumns>
__device__ void FetchTiles(const GemmArgs& args, uint32_t shared, const Barriers& barriers) {
  Fetcher<kRows, kColumns, false> fetcher(args, shared, barriers);
  fetcher.BeginColumns();
  WaitForEarlierKernels();
  while (fetcher.Step()) {
  }
}

// MXFP4: the copies run some steps ahead of the expansion. A step's codes are overwritten once its
// stage is empty, hence long expanded.
template <int kRows, int kColumns>
__device__ void FetchMxfp4Tiles(const GemmArgs& args, uint32_t shared, const Barriers& barriers) {
  using S = Shape<kRows, kColumns, true>;
  constexpr int kAhead = S::kStages > 3 ? 2 : 1;
  constexpr int kPerThread = (2 * kColumns + kWarpgroup - 1) / kWarpgroup;
  const int thread = static_cast<int>(threadIdx.x);
  Fetcher<kRows, kColumns, true> fetcher(args, shared, barriers);
  WaitForEarlierKernels();
  for (int i = 0; i < kAhead; ++i) fetcher.Step();
  TileCursor<kRows, kColumns> cursor(args);
  RowTile tile;
  ColumnTile columns;
  Place<S::kStages> place;
  while (cursor.Next(tile, columns)) {
    const int num_blocks = 2 * (columns.end - columns.begin);
    for (int depth = 0; depth < args.depth_tiles; ++depth, place.Step()) {
      fetcher.Step();
      const int stage = place.stage;
      const uint32_t codes = shared + S::kCodesBegin + stage * (S::kCodeBytes + S::kScaleBytes);
      const uint32_t weights = shared + stage * S::kStageBytes + S::kRowsBytes;
      Wait(&barriers.full_codes[stage], place.round);
      Mxfp4Block read[kPerThread];
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        const int block = min(thread + i * kWarpgroup, num_blocks - 1);
        read[i] = LoadBlock(codes + block * 16, codes + S::kCodeBytes + block);
      }
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        const int block = thread + i * kWarpgroup;
        if (block >= num_blocks) continue;
        ExpandBlock(read[i], weights + block / 2 * kRowBytes, block % 2 * 4, block / 2 % 8);
      }
      FenceAsyncProxy();
      Arrive(&barriers.full[stage]);
    }
  }
}

template <int kRows, int kColumns, bool kIsMxfp4, Epilogue kEpilogue>
__device__ void MultiplyTiles(const GemmArgs& args, uint32_t stages, const Barriers& barriers) {
  using S = Shape<kRows, kColumns, kIsMxfp4>;
  const int thread = static_cast<int>(threadIdx.x) - kWarpgroup;
  const int warpgroup = thread / kWarpgroup;
  const int row = thread / 32 * 16 + thread % 32 / 4;  // of the tile
  const bool releases = thread % 32 == 0;
  WaitForEarlierKernels();
  Place<S::kStages> place;
  TileCursor<kRows, kColumns> cursor(args);
  RowTile tile;
  ColumnTile columns;
  while (cursor.Next(tile, columns)) {
    if (tile.end - tile.begin <= warpgroup * 64) {  // none of its rows: the other one has all
      for (int depth = 0; depth < args.depth_tiles; ++depth, place.Step()) {
        Wait(&barriers.full[place.stage], place.round);
        if (releases) Arrive(&barriers.empty[place.stage]);
      }
      continue;
    }
    float sums[kColumns / 2];
    int last_stage = 0;
    for (int depth = 0; depth < args.depth_tiles; ++depth, place.Step()) {
      Wait(&barriers.full[place.stage], place.round);
      FenceAsyncProxy();  // the rows came by ordinary copies
      const uint32_t stage = stages + place.stage * S::kStageBytes;
      const uint64_t a = SwizzledMatrix(stage + warpgroup * 64 * kRowBytes);
      const uint64_t b = SwizzledMatrix(stage + S::kRowsBytes);
      PinSums(sums);
      BeginProducts();
#pragma unroll
      for (int step = 0; step < kTileDepth / 16; ++step) {
        Multiply<kColumns>(sums, Advanced(a, step * 32), Advanced(b, step * 32),
                           depth > 0 || step > 0);
      }
      CommitProducts();
      PinSums(sums);
      if (depth > 0) {
        WaitForProducts<1>();
        if (releases) Arrive(&barriers.empty[last_stage]);
      }
      last_stage = place.stage;
    }
    WaitForProducts<0>();
    PinSums(sums);
    if (releases) Arrive(&barriers.empty[last_stage]);
    StoreTile<kColumns, kEpilogue>(args, tile, columns, row, sums);
  }
}

template <int kRows, int kColumns, bool kIsMxfp4, Epilogue kEpilogue>
__global__ __launch_bounds__(Shape<kRows, kColumns, kIsMxfp4>::kThreads,
                             1) void GemmKernel(const __grid_constant__ GemmArgs args) {
  using S = Shape<kRows, kColumns, kIsMxfp4>;
  extern __shared__ std::byte dynamic[];
  const uint32_t base = SharedAddress(dynamic);
  const uint32_t shared = (base + 1023) / 1024 * 1024;
  auto* words = reinterpret_cast<uint64_t*>(dynamic + (shared - base) + S::kBarriersBegin);
  const Barriers barriers{words, words + S::kStages, words + 2 * S::kStages};
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kStages; ++i) {
      InitBarrier(&barriers.full[i], kWarpgroup + (kIsMxfp4 ? kWarpgroup : 1));
      InitBarrier(&barriers.empty[i], S::kMultipliers * 4);
      InitBarrier(&barriers.full_codes[i], 1);
    }
    FenceBarrierInit();
  }
  __syncthreads();
  LetNextKernelBegin();
  if (args.row_tiles != nullptr) WaitForEarlierKernels();  // before the list of tiles is read
  constexpr bool kMovesRegisters = S::kMultipliers == 2;   // 512 for each thread of 128 in all
  if (threadIdx.x < kWarpgroup) {
    if constexpr (kMovesRegisters) GiveRegisters<kIsMxfp4 ? 96 : 56>();
    if constexpr (kIsMxfp4) {
      FetchMxfp4Tiles<kRows, kColumns>(args, shared, barriers);
    } else {
      FetchTiles<kRows, kColumns>(args, shared, barriers);
    }
  } else {
    if constexpr (kMovesRegisters) TakeRegisters<kIsMxfp4 ? 200 : 224>();
    MultiplyTiles<kRows, kColumns, kIsMxfp4, kEpilogue>(args, shared, barriers);
  }
}

template <int kRows, int kColumns, bool kIsMxfp4, Epilogue kEpilogue>
cudaError_t Launch(const GemmArgs& args, int num_processors, cudaStream_t stream) {
  using S = Shape<kRows, kColumns, kIsMxfp4>;
  auto* kernel = GemmKernel<kRows, kColumns, kIsMxfp4, kEpilogue>;
  static const cudaError_t prepared =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, S::kSharedBytes);
  if (prepared != cudaSuccess) return prepared;
  return LaunchChained(kernel, num_processors, S::kThreads, S::kSharedBytes, stream, args);
}

template <bool kIsMxfp4, Epilogue kEpilogue>
cudaError_t LaunchShape(const GemmArgs& args, TileShape shape, int num_processors,
                        cudaStream_t stream) {
  if (shape == TileShape{128, 256}) {
    return Launch<128, 256, kIsMxfp4, kEpilogue>(args, num_processors, stream);
  }
  if (shape == TileShape{128, 128}) {
    return Launch<128, 128, kIsMxfp4, kEpilogue>(args, num_processors, stream);
  }
  if (shape == TileShape{64, 256}) {
    return Launch<64, 256, kIsMxfp4, kEpilogue>(args, num_processors, stream);
  }
  if (shape == TileShape{64, 128}) {
    return Launch<64, 128, kIsMxfp4, kEpilogue>(args, num_processors, stream);
  }
  if (shape == TileShape{64, 32}) {
    return Launch<64, 32, kIsMxfp4, kEpilogue>(args, num_processors, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t LaunchGemm(const GemmArgs& args, TileShape shape, Epilogue epilogue, int num_processors,
                       cudaStream_t stream) {
  const bool is_mxfp4 = args.weights[0].scales != nullptr;
  if (is_mxfp4) {
    switch (epilogue) {
      case Epilogue::kBFloat16:
        return LaunchShape<true, Epilogue::kBFloat16>(args, shape, num_processors, stream);
      case Epilogue::kSilu:
        return LaunchShape<true, Epilogue::kSilu>(args, shape, num_processors, stream);
      case Epilogue::kSwiGlu:
        return LaunchShape<true, Epilogue::kSwiGlu>(args, shape, num_processors, stream);
      case Epilogue::kFloat32:
        return cudaErrorInvalidValue;  // experts alone have MXFP4
    }
  }
  switch (epilogue) {
    case Epilogue::kBFloat16:
      return LaunchShape<false, Epilogue::kBFloat16>(args, shape, num_processors, stream);
    case Epilogue::kSilu:
      return LaunchShape<false, Epilogue::kSilu>(args, shape, num_processors, stream);
    case Epilogue::kSwiGlu:
      return LaunchShape<false, Epilogue::kSwiGlu>(args, shape, num_processors, stream);
    case Epilogue::kFloat32:
      return LaunchShape<false, Epilogue::kFloat32>(args, shape, num_processors, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace expertile::cuda
