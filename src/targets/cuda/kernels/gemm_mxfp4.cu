// The matrix product of gathered rows and MXFP4 experts, persistent as gemm.cu is: a warpgroup
// fetches, two multiply. Operands change places: the weights' columns are the rows of wgmma, whose
// first operand comes from registers, so that threads expand codes to where they are multiplied
// from, once for up to 256 rows. wgmma adds up 16 of the depth alike whichever operand has the
// rows: results are the bits of gemm_few_rows.cu.
#include "targets/cuda/kernels/activation.cuh"
#include "targets/cuda/kernels/gemm_mxfp4.h"
#include "targets/cuda/kernels/gemm_mxfp4_fetch.cuh"
#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/mma.cuh"
#include "targets/cuda/kernels/mxfp4.cuh"
#include "targets/cuda/kernels/wgmma.cuh"

namespace expertile::cuda {
namespace {

constexpr int kRowStep = 16;  // of the numbers of rows that a step multiplies

// The weights of a warpgroup's 64 columns and 64 of the depth, four products' first operands.
using Weights = uint32_t[4][4];

// The products of a step with as many rows, in steps of kRowStep, as the tile has, between kLeast
// and kMost. Those of the sums that are not theirs keep what they are. The branches are inside the
// loop over steps, since the compiler takes several loops' sums for more than there are registers.
template <int kRows, int kLeast = kRowStep, int kMost = kRows>
__device__ inline void MultiplyStep(int rows_there, const Weights& weights, uint64_t rows,
                                    bool keeps, float (&sums)[kRows / 2]) {
  if constexpr (kLeast < kMost) {
    constexpr int kMiddle = (kLeast + kMost) / 2 / kRowStep * kRowStep;
    if (rows_there > kMiddle) {
      MultiplyStep<kRows, kMiddle + kRowStep, kMost>(rows_there, weights, rows, keeps, sums);
    } else {
      MultiplyStep<kRows, kLeast, kMiddle>(rows_there, weights, rows, keeps, sums);
    }
  } else {
    auto& first = reinterpret_cast<float(&)[kMost / 2]>(sums);
    BeginProducts();
#pragma unroll
    for (int step = 0; step < kTileDepth / 16; ++step) {
      MultiplyRegisters<kMost>(first, weights[step], Advanced(rows, step * 32), keeps || step > 0);
    }
    CommitProducts();
  }
}

// One multiplying thread's way through the steps of a tile. While the products of a step run, the
// next step's weights are expanded.
template <int kRows>
class Multiplier {
  using S = Mxfp4Shape<kRows>;

 public:
  // `copies_rows`: by ordinary copies.
  __device__ Multiplier(const Mxfp4Ring<kRows>& ring, int rows_there, bool copies_rows,
                        Place<S::kStages>& place)
      : ring_(ring), place_(place), rows_there_(rows_there), copies_rows_(copies_rows) {}

  __device__ void Run(int depth_tiles, float (&sums)[kRows / 2]) {
    Weights even;
    Weights odd;
    Fill(even);
    int left = depth_tiles;
    while (true) {
      Multiply(even, left < depth_tiles, sums);
      if (--left == 0) break;
      Advance();
      Fill(odd);
      Multiply(odd, true, sums);
      if (--left == 0) break;
      Advance();
      Fill(even);
    }
    WaitForProducts<0>();
    PinSums(sums);
    Release();
    last_ = place_.stage;
    Release();
    place_.Step();
  }

 private:
  __device__ void Fill(Weights& weights) const {
    const int thread = static_cast<int>(threadIdx.x) - S::kFetchThreads;
    const int stage = place_.stage;
    Wait(ring_.full(stage), place_.round);
    const Mxfp4Step codes(
        ring_.codes(stage) + thread * 16,
        ring_.scales(stage) + thread / 32 * (2 * kMxfp4Columns) + thread % 32 / 4 * 4);
    codes.Expand(weights);
  }
  __device__ void Multiply(const Weights& weights, bool keeps, float (&sums)[kRows / 2]) const {
    if (copies_rows_) FenceAsyncProxy();  // the copy engine's need none
    PinSums(sums);
    MultiplyStep<kRows>(rows_there_, weights, SwizzledMatrix(ring_.rows(place_.stage)), keeps,
                        sums);
    PinSums(sums);
  }
  // On to the next stage. The products before the last are done, and their weights may be written.
  __device__ void Advance() {
    WaitForProducts<1>();
    Release();
    last_ = place_.stage;
    place_.Step();
  }
  // Gives back the stage before this one. Each lane does: it has read codes and scales.
  __device__ void Release() const {
    if (last_ >= 0) Arrive(ring_.empty(last_));
  }

  const Mxfp4Ring<kRows>& ring_;
  Place<S::kStages>& place_;
  int rows_there_;
  bool copies_rows_;
  int last_ = -1;
};

// A warp's 8 by 8 elements, in pairs along a row, the other way round: thread 4 g + q gets those of
// column g, 2 q and 2 q + 1.
__device__ inline uint32_t TransposePair(uint32_t pair) {
  uint32_t transposed;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(pair));
  return transposed;
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

// What follows the product of a warp's 16 columns: sums 4 j + {0, 1} are column lane / 4's of rows
// 8 j + 2 (lane % 4) + {0, 1}, 4 j + {2, 3} those of the column 8 further on.
template <int kRows, Epilogue kEpilogue>
class Storer {
  static constexpr int kGroups = kRows / 32;  // of 32 rows, of which a thread writes 4 whole

 public:
  // `first` is the warp's first column of the weights.
  __device__ Storer(const GemmArgs& args, const TileWork& work, int first)
      : args_(args), work_(work), first_(first), lane_(static_cast<int>(threadIdx.x) % 32) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const int row = Row(group);
      const int packed = work.rows.begin + row;
      targets_[group] = -1;
      if (packed >= work.rows.end) continue;
      if constexpr (kStoresTiles<kEpilogue>) {
        targets_[group] = work.rows.stored + row;
      } else {
        targets_[group] = args.scatter != nullptr ? args.scatter[packed] : packed;
      }
    }
  }

  __device__ void Store(float (&sums)[kRows / 2]) const {
    AddBiases(sums);
    if constexpr (kStoresTiles<kEpilogue>) {
      StoreHalf(0, [&](int block) {
        const float* gate = &sums[4 * block];
        return PackPair(Activate<kEpilogue>(args_, gate[0], gate[2]),
                        Activate<kEpilogue>(args_, gate[1], gate[3]));
      });
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        StoreHalf(half, [&](int block) {
          const float* pair = &sums[4 * block + 2 * half];
          return PackPair(pair[0], pair[1]);
        });
      }
    }
  }

 private:
  // Of the tile, the row that this thread writes of 32.
  __device__ int Row(int group) const { return 32 * group + lane_ % 4 * 8 + lane_ / 4; }

  __device__ void AddBiases(float (&sums)[kRows / 2]) const {
    const TiledWeights& weights = args_.weights[work_.columns.weights];
    if (weights.bias == nullptr) return;
    const int columns = work_.columns.end;
    const float* bias = weights.bias + work_.rows.expert * weights.columns;
    const int column = first_ + lane_ / 4;
    const float low = column < columns ? bias[column] : 0.0f;
    const float high = column + 8 < columns ? bias[column + 8] : 0.0f;
#pragma unroll
    for (int i = 0; i < kRows / 2; ++i) sums[i] += i % 4 < 2 ? low : high;
  }

  // Where block `block` of 8 columns of a row in tiles lies, in bytes.
  __device__ int64_t BlockOffset(int block) const {
    const int swizzle = static_cast<int>(threadIdx.x) % 32 / 4;  // a row's number mod 8
    return block / 8 * args_.out_stored_rows * kRowBytes + ((block % 8 ^ swizzle) << 4);
  }

  // Eight elements of each row: `pair(block)` of the activated ones, or of half the columns.
  template <typename Pair>
  __device__ void StoreHalf(int half, Pair pair) const {
    const bool is_there = first_ + 8 * half < work_.columns.end;
    const int column = args_.out_column[work_.columns.weights] + first_ + 8 * half;
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (32 * group >= work_.rows.end - work_.rows.begin) break;
      uint32_t pairs[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) pairs[i] = TransposePair(pair(4 * group + i));
      const uint4 elements = GatherBlock(pairs, lane_ % 4);
      const int64_t target = targets_[group];
      if (target < 0 || !is_there) continue;
      int64_t offset;
      if constexpr (kStoresTiles<kEpilogue>) {
        offset = target * kRowBytes + BlockOffset(column / 16);
      } else {
        offset = (target * args_.out_stride + column) * 2;
      }
      *reinterpret_cast<uint4*>(static_cast<char*>(args_.out) + offset) = elements;
    }
  }

  const GemmArgs& args_;
  const TileWork& work_;
  int first_;
  int lane_;
  int targets_[kGroups];  // rows of the output; -1: past the tile's last
};

template <int kRows, Epilogue kEpilogue>
__device__ void MultiplyTiles(const GemmArgs& args, const Mxfp4Ring<kRows>& ring) {
  using S = Mxfp4Shape<kRows>;
  const int thread = static_cast<int>(threadIdx.x) - S::kFetchThreads;
  Place<S::kStages> place;
  while (true) {
    Wait(ring.full(place.stage), place.round);
    const TileWork work = ring.work(place.stage);
    if (work.IsEnd()) return;
    if (work.columns.begin + thread / kWarpgroup * 64 >= work.columns.end) {  // none of its columns
      for (int depth = 0; depth < args.depth_tiles; ++depth, place.Step()) {
        Wait(ring.full(place.stage), place.round);
        Arrive(ring.empty(place.stage));
      }
      continue;
    }
    float sums[kRows / 2];
    Multiplier<kRows>(ring, work.rows.end - work.rows.begin, args.stored_rows == 0, place)
        .Run(args.depth_tiles, sums);
    const int first = work.columns.begin + thread / 32 * kMxfp4Columns;
    Storer<kRows, kEpilogue>(args, work, first).Store(sums);
  }
}

template <int kRows, Epilogue kEpilogue>
__global__ __launch_bounds__(Mxfp4Shape<kRows>::kThreads,
                             1) void Mxfp4Kernel(const __grid_constant__ GemmArgs args) {
  using S = Mxfp4Shape<kRows>;
  extern __shared__ std::byte dynamic[];
  const Mxfp4Ring<kRows> ring(dynamic);
  LetNextKernelBegin();
  WaitForEarlierKernels();
  // What three warpgroups have at the launch, in all: 168 each.
  if (threadIdx.x < S::kFetchThreads) {
    GiveRegisters<88>();
    Mxfp4Fetcher<kRows>(args, ring).Run();
  } else {
    TakeRegisters<208>();
    MultiplyTiles<kRows, kEpilogue>(args, ring);
  }
}

template <int kRows, Epilogue kEpilogue>
cudaError_t Launch(const GemmArgs& args, int num_processors, cudaStream_t stream) {
  using S = Mxfp4Shape<kRows>;
  constexpr auto* kKernel = Mxfp4Kernel<kRows, kEpilogue>;
  const cudaError_t allowed = AllowSharedBytes<kKernel, S::kSharedBytes>();
  if (allowed != cudaSuccess) return allowed;
  return LaunchChained(kKernel, num_processors, S::kThreads, S::kSharedBytes, stream, args);
}

template <Epilogue kEpilogue>
cudaError_t LaunchShape(const GemmArgs& args, TileShape shape, int num_processors,
                        cudaStream_t stream) {
  if (shape.rows > kMaxMxfp4Rows) return cudaErrorInvalidValue;
  return shape.rows <= 128 ? Launch<128, kEpilogue>(args, num_processors, stream)
                           : Launch<kMaxMxfp4Rows, kEpilogue>(args, num_processors, stream);
}

}  // namespace

cudaError_t LaunchMxfp4(const GemmArgs& args, TileShape shape, Epilogue epilogue,
                        int num_processors, cudaStream_t stream) {
  switch (epilogue) {
    case Epilogue::kBFloat16:
      return LaunchShape<Epilogue::kBFloat16>(args, shape, num_processors, stream);
    case Epilogue::kSilu:
      return LaunchShape<Epilogue::kSilu>(args, shape, num_processors, stream);
    case Epilogue::kSwiGlu:
      return LaunchShape<Epilogue::kSwiGlu>(args, shape, num_processors, stream);
    case Epilogue::kFloat32:
      break;  // experts alone have MXFP4
  }
  return cudaErrorInvalidValue;
}

}  // namespace expertile::cuda
