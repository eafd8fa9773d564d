// The matrix product of few rows (decode): a warp computes 16 columns of at most 8 rows, with its
// own ring of stages in shared memory, so that all multiprocessors read weights whatever the number
// of columns. mma.sync adds up 16 of the depth as wgmma does, hence the bits are those of gemm.cu.
#include "targets/cuda/barriers.cuh"
#include "targets/cuda/gemm_epilogue.cuh"
#include "targets/cuda/gemm_few_rows.h"
#include "targets/cuda/gemm_tiles.cuh"
#include "targets/cuda/launch.cuh"
#include "targets/cuda/mxfp4.cuh"
#include "targets/cuda/tile_layout.h"

namespace expertile::cuda {
namespace {

constexpr int kRows = kFewRowsTile.rows;
constexpr int kColumns = kFewRowsTile.columns;
static_assert(kColumns == kMxfp4Columns);
constexpr int kWarps = 8;
constexpr int kStages = 8;
constexpr int kRowBytes = kTileDepth * 2;
constexpr int kRowPitch = kRowBytes + 16;  // in shared memory: rows begin in different banks
constexpr int kRowsBegin = kColumns * kRowBytes;
constexpr int kStageBytes = kRowsBegin + kRows * kRowPitch;
constexpr int kSharedBytes = kWarps * kStages * kStageBytes + 128;

// A step's operands in registers: of four times 16 of the depth, as mma.m16n8k16 has them, with
// weights' columns for its rows.
struct Operands {
  uint32_t weights[4][4];
  uint32_t rows[4][2];
};

__device__ inline void LoadMatrix(uint32_t address, uint32_t (&matrix)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrix[0]), "=r"(matrix[1]), "=r"(matrix[2]), "=r"(matrix[3])
               : "r"(address));
}
__device__ inline uint32_t LoadWord(uint32_t address) {
  uint32_t word;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(address));
  return word;
}

__device__ inline void MultiplyAdd(const uint32_t (&a)[4], const uint32_t (&b)[2],
                                   float (&sums)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The numbers of a warp's tiles, and what they are.
class Tiles {
 public:
  __device__ explicit Tiles(const GemmArgs& args)
      : args_(args), column_tiles_(NumColumnTiles<kColumns>(args)) {
    if (args.row_tiles == nullptr) {
      count_ = (static_cast<int>(args.num_rows) + kRows - 1) / kRows * column_tiles_;
    }
  }
  // After it the tiles of experts are known, too.
  __device__ void AfterEarlierKernels() {
    if (args_.row_tiles != nullptr) count_ = args_.nsp_offsets[args_.num_nsp] * column_tiles_;
  }
  __device__ int First() const {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    return warp * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
  }
  __device__ int Next(int tile) const { return tile + kWarps * static_cast<int>(gridDim.x); }
  __device__ bool IsThere(int tile) const { return tile < count_; }
  __device__ TileWork WorkOf(int tile) const {
    TileWork work;
    const int row_tile = tile / column_tiles_;
    work.columns = FindColumnTile<kColumns>(args_, tile % column_tiles_);
    const int begin = row_tile * kRows;
    work.rows =
        args_.row_tiles != nullptr
            ? args_.row_tiles[row_tile]
            : RowTile{0, begin, min(static_cast<int>(args_.num_rows), begin + kRows), begin};
    return work;
  }

 private:
  const GemmArgs& args_;
  int column_tiles_;
  int count_ = 0;
};

// One warp's copies of step after step to its ring of stages, each step's a group.
template <bool kIsMxfp4>
class Fetcher {
 public:
  __device__ Fetcher(const GemmArgs& args, const Tiles& tiles, uint32_t stages)
      : args_(args),
        tiles_(tiles),
        lane_(static_cast<int>(threadIdx.x) % 32),
        tile_(tiles.First()),
        stages_(stages),
        stage_(stages) {}

  // Starts the copies of the first columns of a dense product: no earlier kernel writes weights.
  __device__ void BeginColumns() {
    if (args_.row_tiles != nullptr || !tiles_.IsThere(tile_)) return;
    FindColumns(tiles_.WorkOf(tile_));
    for (; begun_ < kStages && begun_ < args_.depth_tiles; ++begun_) {
      CopyColumns<0>(stages_ + begun_ * kStageBytes);
      CopyColumns<1>(stages_ + begun_ * kStageBytes);
    }
  }
  // Starts the copies of the next step, if there is one, in four parts: a multiplying warp has its
  // products between them.
  template <int kPart>
  __device__ void Part() {
    if constexpr (kPart == 0) {
      if (left_ == 0 && tiles_.IsThere(tile_)) BeginTile();
    }
    if (left_ > 0) {
      if constexpr (kPart < 2) {
        if (begun_ == 0) CopyColumns<kPart>(stage_);
      } else if constexpr (kPart == 2) {
        if (begun_ > 0) --begun_;
        CopyRows();
      } else {
        if (--left_ == 0) tile_ = tiles_.Next(tile_);
        stage_ = stage_ == stages_ + (kStages - 1) * kStageBytes ? stages_ : stage_ + kStageBytes;
      }
    }
    if constexpr (kPart == 3) CommitCopies();
  }
  __device__ void Step() {
    Part<0>();
    Part<1>();
    Part<2>();
    Part<3>();
  }

 private:
  __device__ void BeginTile() {
    const TileWork work = tiles_.WorkOf(tile_);
    left_ = args_.depth_tiles;
    until_wrap_ = args_.wrap_tiles;
    if (begun_ == 0) FindColumns(work);
    row_step_ = args_.stored_rows != 0 ? args_.stored_rows * kTileDepth : kTileDepth;
#pragma unroll
    for (int i = 0; i < 2; ++i) FindRow(work.rows, i);
  }
  // Chunk lane % 8 of row lane / 8 + 4 i.
  __device__ void FindRow(const RowTile& rows, int i) {
    const int row = lane_ / 8 + 4 * i;
    const int packed = rows.begin + row;
    rows_[i] = nullptr;
    if (packed >= rows.end) return;
    if (args_.stored_rows != 0) {  // the swizzle is undone
      rows_[i] = args_.rows + (rows.stored + row) * kTileDepth + (lane_ % 8 ^ row) * 8;
    } else {
      const int source =
          args_.gather != nullptr ? args_.gather[packed] / args_.gather_divisor : packed;
      rows_[i] = args_.rows + source * args_.row_stride + lane_ % 8 * 8;
    }
  }
  __device__ void FindColumns(const TileWork& work) {
    const TiledWeights& weights = args_.weights[work.columns.weights];
    constexpr int kColumnBytes = kIsMxfp4 ? kTileDepth / 2 : kRowBytes;
    const int expert = work.rows.expert;
    columns_ = weights.data + expert * weights.bytes_per_expert +
               work.columns.begin * kColumnBytes + 16 * lane_;
    const int64_t columns =
        kIsMxfp4 ? (weights.columns + kColumns - 1) / kColumns * kColumns : weights.columns;
    columns_step_ = columns * kColumnBytes;
    num_columns_ = work.columns.end - work.columns.begin;
    if constexpr (kIsMxfp4) {
      scales_ = weights.scales + expert * weights.scales_per_expert + work.columns.begin * 2 +
                16 * (lane_ % 2);
      scales_step_ = columns * 2;
    }
  }
  // A tile has 8 or 16 columns: one of two halves, or both.
  template <int kHalf>
  __device__ void CopyColumns(uint32_t stage) {
    const bool is_whole = num_columns_ == kColumns;
    const uint32_t target = stage + 16 * lane_;
    if constexpr (!kIsMxfp4) {
      if (kHalf == 0 || is_whole) {
        CopyChunk(target + 1024 * kHalf, columns_ + 1024 * kHalf);
        CopyChunk(target + 1024 * kHalf + 512, columns_ + 1024 * kHalf + 512);
      }
    } else if constexpr (kHalf == 0) {
      CopyChunk(target, columns_);  // 16 columns lie there, always
      if (lane_ < 2) CopyChunk(target + kColumns * kTileDepth / 2, scales_);
      scales_ += scales_step_;
    }
    if constexpr (kHalf == 1) columns_ += columns_step_;
  }
  __device__ void CopyRows() {
    const uint32_t target = stage_ + kRowsBegin + lane_ / 8 * kRowPitch + lane_ % 8 * 16;
    if (rows_[0] != nullptr) CopyChunk(target, rows_[0]);
    if (rows_[1] != nullptr) CopyChunk(target + 4 * kRowPitch, rows_[1]);
    const int64_t step = --until_wrap_ == 0 ? kTileDepth * (1 - args_.wrap_tiles) : row_step_;
    if (rows_[0] != nullptr) rows_[0] += step;
    if (rows_[1] != nullptr) rows_[1] += step;
  }

  const GemmArgs& args_;
  const Tiles& tiles_;
  int lane_;
  int tile_;
  int left_ = 0;   // steps of the tile
  int begun_ = 0;  // steps whose columns are on their way already
  int until_wrap_ = 0;
  int num_columns_ = 0;
  uint32_t stages_;
  uint32_t stage_;
  const std::byte* columns_ = nullptr;  // this lane's part of the next step
  int64_t columns_step_ = 0;
  const uint8_t* scales_ = nullptr;
  int64_t scales_step_ = 0;
  const __nv_bfloat16* rows_[2] = {};  // likewise; null: no such row
  int64_t row_step_ = 0;
};

// One warp's products of the steps that are fetched, and what follows each tile.
template <bool kIsMxfp4, Epilogue kEpilogue>
class Multiplier {
 public:
  __device__ Multiplier(const GemmArgs& args, uint32_t stages)
      : args_(args), lane_(static_cast<int>(threadIdx.x) % 32), stages_(stages), stage_(stages) {
    // Lanes 8 i to 8 i + 7 give the rows of the i-th 8 x 8 matrix: columns 0-7 and 8-15 of the
    // first 8 of the depth, then of the next 8.
    const int column = lane_ % 16;
    first_weights_ = column * kRowBytes + ((lane_ / 16 ^ column % 8) << 4);
    first_row_ = kRowsBegin + lane_ / 4 * kRowPitch + lane_ % 4 * 4;
  }

  __device__ void Run(const Tiles& tiles, Fetcher<kIsMxfp4>& fetcher) {
    int tile = tiles.First();
    if (!tiles.IsThere(tile)) return;
    Operands operands;
    AwaitCopies();
#pragma unroll
    for (int step = 0; step < 4; ++step) Load(step, operands);
    for (; tiles.IsThere(tile); tile = tiles.Next(tile)) {
      const TileWork work = tiles.WorkOf(tile);
      float sums[4] = {};
      for (int left = args_.depth_tiles; left > 0; --left) {
        // The next step's operands, of whatever tile; after the last they are no one's.
        stage_ = stage_ == stages_ + (kStages - 1) * kStageBytes ? stages_ : stage_ + kStageBytes;
        AwaitCopies();
        // Fetched is to the stage before, whose operands are all in registers.
        MultiplyAndLoad(0, operands, sums);
        fetcher.template Part<0>();
        MultiplyAndLoad(1, operands, sums);
        fetcher.template Part<1>();
        MultiplyAndLoad(2, operands, sums);
        fetcher.template Part<2>();
        MultiplyAndLoad(3, operands, sums);
        fetcher.template Part<3>();
      }
      Store(work, sums);
    }
  }

 private:
  // Of all lanes to this stage; the kStages - 2 steps after it may be on their way.
  __device__ void AwaitCopies() const {
    WaitForCopies<kStages - 2>();
    __syncwarp();
  }
  __device__ void MultiplyAndLoad(int step, Operands& operands, float (&sums)[4]) {
    MultiplyAdd(operands.weights[step], operands.rows[step], sums);
    Load(step, operands);
  }
  // Operands of 16 of the depth, the first of a stage before the others.
  __device__ void Load(int step, Operands& operands) {
    if constexpr (kIsMxfp4) {
      if (step == 0) {
        const uint32_t scales = stage_ + kColumns * kTileDepth / 2;
        codes_ = Mxfp4Step(stage_ + 16 * lane_, scales + lane_ / 4 * 4);
      }
      codes_.Expand(step, operands.weights[step]);
    } else {
      LoadMatrix(stage_ + (first_weights_ ^ step << 5), operands.weights[step]);  // swizzled
    }
    operands.rows[step][0] = LoadWord(stage_ + first_row_ + 32 * step);
    operands.rows[step][1] = LoadWord(stage_ + first_row_ + 32 * step + 16);
  }

  // sums: columns lane / 4 and 8 more, of rows 2 (lane % 4) and the next.
  __device__ void Store(const TileWork& work, float (&sums)[4]) const {
    const ColumnTile& columns = work.columns;
    const TiledWeights& weights = args_.weights[columns.weights];
    const int column = lane_ / 4;
    const bool has_second = columns.end - columns.begin > 8;
    if (weights.bias != nullptr) {
      const float* bias =
          weights.bias + work.rows.expert * weights.columns + columns.begin + column;
      for (int i = 0; i < 4; ++i) {
        if (i < 2 || has_second) sums[i] += bias[i / 2 * 8];
      }
    }
    const int first = args_.out_column[columns.weights] + columns.begin + column;
    for (int i = 0; i < 2; ++i) {
      const int row = 2 * (lane_ % 4) + i;
      const int packed = work.rows.begin + row;
      if (packed >= work.rows.end) continue;
      if constexpr (kStoresTiles<kEpilogue>) {
        const int element = (first - column) / 2 + column;
        const int64_t offset =
            (element / 64 * args_.out_stored_rows + work.rows.stored + row) * 64 +
            ((element % 64 / 8 ^ row) * 8 + element % 8);
        static_cast<__nv_bfloat16*>(args_.out)[offset] =
            __float2bfloat16_rn(Activate<kEpilogue>(args_, sums[i], sums[2 + i]));
      } else {
        const int64_t target = args_.scatter != nullptr ? args_.scatter[packed] : packed;
        for (int second = 0; second < 2; ++second) {
          if (second == 1 && !has_second) continue;
          const int64_t offset = target * args_.out_stride + first + 8 * second;
          if constexpr (kEpilogue == Epilogue::kFloat32) {
            static_cast<float*>(args_.out)[offset] = sums[2 * second + i];
          } else {
            static_cast<__nv_bfloat16*>(args_.out)[offset] =
                __float2bfloat16_rn(sums[2 * second + i]);
          }
        }
      }
    }
  }

  const GemmArgs& args_;
  int lane_;
  uint32_t stages_;
  uint32_t stage_;  // whose operands are loaded
  uint32_t first_weights_;
  uint32_t first_row_;
  Mxfp4Step codes_;  // of MXFP4, this lane's of the stage
};

template <bool kIsMxfp4, Epilogue kEpilogue>
__global__ __launch_bounds__(32 * kWarps,
                             1) void FewRowsKernel(const __grid_constant__ GemmArgs args) {
  extern __shared__ std::byte dynamic[];
  const uint32_t shared = (SharedAddress(dynamic) + 127) / 128 * 128;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const uint32_t stages = shared + warp * kStages * kStageBytes;
  LetNextKernelBegin();
  Tiles tiles(args);
  Fetcher<kIsMxfp4> fetcher(args, tiles, stages);
  fetcher.BeginColumns();
  WaitForEarlierKernels();
  tiles.AfterEarlierKernels();
  for (int i = 0; i < kStages; ++i) fetcher.Step();
  Multiplier<kIsMxfp4, kEpilogue>(args, stages).Run(tiles, fetcher);
}

template <bool kIsMxfp4, Epilogue kEpilogue>
cudaError_t Launch(const GemmArgs& args, int num_processors, cudaStream_t stream) {
  auto* kernel = FewRowsKernel<kIsMxfp4, kEpilogue>;
  static const cudaError_t prepared =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (prepared != cudaSuccess) return prepared;
  return LaunchChained(kernel, num_processors, 32 * kWarps, kSharedBytes, stream, args);
}

}  // namespace

cudaError_t LaunchFewRows(const GemmArgs& args, Epilogue epilogue, int num_processors,
                          cudaStream_t stream) {
  const bool is_mxfp4 = args.weights[0].scales != nullptr;
  const auto launch = [&]<Epilogue kEpilogue>() {
    return is_mxfp4 ? Launch<true, kEpilogue>(args, num_processors, stream)
                    : Launch<false, kEpilogue>(args, num_processors, stream);
  };
  switch (epilogue) {
    case Epilogue::kFloat32:
      return launch.template operator()<Epilogue::kFloat32>();
    case Epilogue::kBFloat16:
      return launch.template operator()<Epilogue::kBFloat16>();
    case Epilogue::kSilu:
      return launch.template operator()<Epilogue::kSilu>();
    case Epilogue::kSwiGlu:
      return launch.template operator()<Epilogue::kSwiGlu>();
  }
  return cudaErrorInvalidValue;
}

}  // namespace expertile::cuda
