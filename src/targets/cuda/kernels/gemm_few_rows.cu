// The matrix product of few rows (decode): a warp computes 16 columns of at most 8 rows, others
// fetch for it, so that all multiprocessors read weights whatever the number of columns. mma.sync
// adds up 16 of the depth as wgmma does, hence the bits are those of gemm.cu.
#include <algorithm>

#include "targets/cuda/kernels/activation.cuh"
#include "targets/cuda/kernels/few_rows_fetch.cuh"
#include "targets/cuda/kernels/few_rows_ring.cuh"
#include "targets/cuda/kernels/gemm_few_rows.h"
#include "targets/cuda/kernels/mma.cuh"
#include "targets/cuda/kernels/mxfp4.cuh"

namespace expertile::cuda {
namespace {

using namespace few_rows;  // NOLINT(google-build-using-namespace)

// A step's operands in registers: of four times 16 of the depth, as mma.m16n8k16 has them, with
// weights' columns for its rows.
struct Operands {
  uint32_t weights[4][4];
  uint32_t rows[2][4];  // of two times 16 each
};

__device__ inline void LoadMatrices(uint32_t address, uint32_t (&matrices)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(address));
}

// One warp's products of the stages that are fetched for it, and what follows each tile.
template <bool kIsMxfp4>
class Multiplier {
 public:
  using S = Stage<kIsMxfp4>;

  __device__ Multiplier(const GemmArgs& args, Epilogue epilogue, const Ring& ring)
      : args_(args), epilogue_(epilogue), ring_(ring), lane_(static_cast<int>(threadIdx.x) % 32) {
    // Lanes 8 i to 8 i + 7 give the rows of the i-th 8 x 8 matrix: of weights columns 0-7 and 8-15
    // of the first 8 of the depth, then of the next 8; of rows all of the next four times 8.
    const int column = lane_ % 16;
    first_weights_ = column * kRowBytes + ((lane_ / 16 ^ column % 8) << 4);
    const int row = min(lane_ % 8, static_cast<int>(args.most_rows) - 1);
    first_rows_ = S::kRowsBegin + row * kRowBytes + ((lane_ / 8 ^ row) << 4);
  }

  __device__ void Run(const Tiles& tiles) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int sharers = min(S::kMultipliers, tiles.count());
    if (warp >= sharers) return;
    Place place(ring_, sharers);
    for (int tile = warp; tile < tiles.count(); tile += sharers) {
      const TileWork work = tiles.WorkOf(tile);
      float sums[4] = {};
      MultiplyTile(warp, place, sums);
      Store(work, sums);
    }
  }

 private:
  // A step's operands are loaded while those of the step before are multiplied.
  __device__ void MultiplyTile(int warp, Place& place, float (&sums)[4]) const {
    Operands operands[2];
    int stage = place.StageOf(warp);
    Wait(&ring_.full[stage], place.round());
    Load(stage, 0, operands[0]);
    int left = args_.depth_tiles;
    for (; left > kSteps; left -= kSteps) {
      const int last = stage;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        if (step + 1 < kSteps) {
          Load(stage, step + 1, operands[(step + 1) % 2]);
        } else {
          place.Step();
          stage = place.StageOf(warp);
          Wait(&ring_.full[stage], place.round());
          Load(stage, 0, operands[(step + 1) % 2]);
        }
        MultiplyStep(operands[step % 2], sums);
      }
      Release(last);
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step + 1 < left) Load(stage, step + 1, operands[(step + 1) % 2]);
      if (step < left) MultiplyStep(operands[step % 2], sums);
    }
    Release(stage);
    place.Step();
  }
  // All of the stage's operands are in registers.
  __device__ void Release(int stage) const { Arrive(&ring_.empty[stage]); }
  __device__ void Load(int index, int step, Operands& operands) const {
    const uint32_t stage = ring_.stages + index * ring_.stage_bytes;
    if constexpr (kIsMxfp4) {
      const Mxfp4Step codes(
          stage + step * S::kStepBytes + 16 * lane_,
          stage + S::kScalesBegin + step * kFewRowsTile.columns * S::kScaleBytes + lane_ / 4 * 4);
      codes.Expand(operands.weights);
    } else {
      // Two chunks further each time, swizzled.
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        LoadMatrices(stage + step * S::kStepBytes + (first_weights_ ^ i << 5), operands.weights[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      LoadMatrices(stage + step * args_.most_rows * kRowBytes + (first_rows_ ^ i << 6),
                   operands.rows[i]);
    }
  }
  __device__ static void MultiplyStep(const Operands& operands, float (&sums)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t(&weights)[4] = operands.weights[i];
      const uint32_t* rows = &operands.rows[i / 2][i % 2 * 2];
      MultiplyAdd(weights[0], weights[1], weights[2], weights[3], rows[0], rows[1], sums);
    }
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
      if (epilogue_ == Epilogue::kSilu || epilogue_ == Epilogue::kSwiGlu) {
        const int element = (first - column) / 2 + column;
        const int64_t offset =
            (element / 64 * args_.out_stored_rows + work.rows.stored + row) * 64 +
            ((element % 64 / 8 ^ row) * 8 + element % 8);
        static_cast<__nv_bfloat16*>(args_.out)[offset] =
            __float2bfloat16_rn(epilogue_ == Epilogue::kSilu
                                    ? Activate<Epilogue::kSilu>(args_, sums[i], sums[2 + i])
                                    : Activate<Epilogue::kSwiGlu>(args_, sums[i], sums[2 + i]));
      } else {
        const int64_t target = args_.scatter != nullptr ? args_.scatter[packed] : packed;
        for (int second = 0; second < 2; ++second) {
          if (second == 1 && !has_second) continue;
          const int64_t offset = target * args_.out_stride + first + 8 * second;
          if (epilogue_ == Epilogue::kFloat32) {
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
  Epilogue epilogue_;
  const Ring& ring_;
  int lane_;
  uint32_t first_weights_;  // from a stage's begin, as is the next
  uint32_t first_rows_;
};

// One kernel for all epilogues: a token's products then find its instructions in a multiprocessor's
// cache, which all kernels of a layer do not fit.
template <bool kIsMxfp4>
__global__ __launch_bounds__(Stage<kIsMxfp4>::kThreads,
                             2) void FewRowsKernel(const __grid_constant__ GemmArgs args,
                                                   Epilogue epilogue) {
  extern __shared__ std::byte dynamic[];
  const Ring ring = MakeRing<kIsMxfp4>(args, dynamic);
  Tiles tiles(args);
  if (threadIdx.x >= 32 * Stage<kIsMxfp4>::kMultipliers) {
    return Fetcher<kIsMxfp4>(args, ring).Run(tiles);
  }
  WaitForEarlierKernels();
  LetNextKernelBegin();
  tiles.FindCount();
  Multiplier<kIsMxfp4>(args, epilogue, ring).Run(tiles);
}

template <bool kIsMxfp4>
cudaError_t Launch(GemmArgs args, Epilogue epilogue, int num_processors, cudaStream_t stream) {
  constexpr auto* kKernel = FewRowsKernel<kIsMxfp4>;
  const cudaError_t allowed = AllowSharedBytes<kKernel, SharedBytes(kFewRowsTile.rows)>();
  if (allowed != cudaSuccess) return allowed;
  args.most_rows = std::min<int64_t>(kFewRowsTile.rows, args.most_rows);
  return LaunchChained(kKernel, num_processors, Stage<kIsMxfp4>::kThreads,
                       SharedBytes(args.most_rows), stream, args, epilogue);
}

}  // namespace

cudaError_t LaunchFewRows(const GemmArgs& args, Epilogue epilogue, int num_processors,
                          cudaStream_t stream) {
  return args.weights[0].scales != nullptr ? Launch<true>(args, epilogue, num_processors, stream)
                                           : Launch<false>(args, epilogue, num_processors, stream);
}

}  // namespace expertile::cuda
