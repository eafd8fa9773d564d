// A persistent matrix product of gathered rows and tiles of weights: a warpgroup fetches, one or
// two multiply (wgmma) and run the epilogue. Each element of a result accumulates over the depth in
// steps of 16 from the first on, whatever the tile: results are the same bits for every tile shape,
// number of rows and order of tiles.
#include "targets/cuda/kernels/gemm.h"
#include "targets/cuda/kernels/gemm_epilogue.cuh"
#include "targets/cuda/kernels/gemm_fetch.cuh"
#include "targets/cuda/kernels/gemm_few_rows.h"
#include "targets/cuda/kernels/gemm_mxfp4.h"
#include "targets/cuda/kernels/gemm_stages.cuh"
#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/tensor_map.cuh"
#include "targets/cuda/kernels/wgmma.cuh"

namespace expertile::cuda {
namespace {

// A warpgroup's 64 rows of a tile: the sums over the depth.
template <int kRows, int kColumns>
__device__ void MultiplyTile(const GemmArgs& args, const Ring& ring, int warpgroup,
                             Place<Shape<kRows, kColumns>::kStages>& place,
                             float (&sums)[kColumns / 2]) {
  using S = Shape<kRows, kColumns>;
  const bool releases = threadIdx.x % 32 == 0;
  int last_stage = 0;
  const bool fences = !FetchesWhole(args);
  for (int depth = 0; depth < args.depth_tiles; ++depth, place.Step()) {
    Wait(&ring.full[place.stage], place.round);
    // Threads that gather rows wrote by ordinary stores and copies. They do not fence themselves: a
    // fence waits for all that a thread has on its way, the copies of later steps, too.
    if (fences) FenceAsyncProxy();
    const uint32_t stage = ring.stages + place.stage * S::kStageBytes;
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
      if (releases) Arrive(&ring.empty[last_stage]);
    }
    last_stage = place.stage;
  }
  WaitForProducts<0>();
  PinSums(sums);
  if (releases) Arrive(&ring.empty[last_stage]);
}

// Lets a tile's stages go unread. One lane does, and the others of its warp wait for it: one that
// fell behind by a round of the ring could not tell that round from the one before.
template <int kStages>
__device__ void SkipTile(const GemmArgs& args, const Ring& ring, Place<kStages>& place) {
  const bool releases = threadIdx.x % 32 == 0;
  for (int depth = 0; depth < args.depth_tiles; ++depth, place.Step()) {
    if (!releases) continue;
    Wait(&ring.full[place.stage], place.round);
    Arrive(&ring.empty[place.stage]);
  }
  __syncwarp();
}

template <int kRows, int kColumns, Epilogue kEpilogue>
__device__ void MultiplyTiles(const GemmArgs& args, const Ring& ring) {
  using S = Shape<kRows, kColumns>;
  const int thread = static_cast<int>(threadIdx.x) - S::kFetchThreads;
  const int warpgroup = thread / kWarpgroup;
  const int warp = thread / 32;
  using Leaves = Leaving<kColumns, kEpilogue>;
  WaitForEarlierKernels();
  Place<S::kStages> place;
  while (true) {
    Wait(&ring.full[place.stage], place.round);
    const TileWork work = ReadWork(ring.work[place.stage]);
    if (work.IsEnd()) return;
    if (work.rows.end - work.rows.begin <= warpgroup * 64) {  // none of its rows
      SkipTile(args, ring, place);
      continue;
    }
    const auto numbers = Leaves::Find(args, work.rows, warp * kWarpRows);
    float sums[kColumns / 2];
    MultiplyTile<kRows, kColumns>(args, ring, warpgroup, place, sums);
    StoreTile<kColumns, kEpilogue>(args, work, numbers, ring.leaving + warp * kLeavingBytes, sums);
  }
}

template <int kRows, int kColumns, Epilogue kEpilogue>
__global__ __launch_bounds__(Shape<kRows, kColumns>::kThreads,
                             1) void GemmKernel(const __grid_constant__ GemmArgs args,
                                                const __grid_constant__ CUtensorMap row_map) {
  using S = Shape<kRows, kColumns>;
  extern __shared__ std::byte dynamic[];
  const uint32_t base = SharedAddress(dynamic);
  const uint32_t stages = (base + 1023) / 1024 * 1024;
  std::byte* barriers = dynamic + (stages - base) + S::kBarriersBegin;
  auto* words = reinterpret_cast<uint64_t*>(barriers);
  auto* work = reinterpret_cast<TileWork*>(barriers + S::kBarrierBytes);
  const Ring ring{stages, stages + S::kLeavingBegin, words, words + S::kStages,
                  work,   work + S::kStages};
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kStages; ++i) {
      InitBarrier(&ring.full[i], FetchesWhole(args) ? 1 : S::kFetchThreads + 1);
      InitBarrier(&ring.empty[i], S::kMultipliers * 4);
    }
    FenceBarrierInit();
  }
  __syncthreads();
  LetNextKernelBegin();
  if (args.row_tiles != nullptr) WaitForEarlierKernels();  // before the list of tiles is read
  // What three warpgroups have at the launch, in all: 168 each.
  constexpr bool kMovesRegisters = S::kMultipliers == 2;
  if (threadIdx.x < S::kFetchThreads) {
    if constexpr (kMovesRegisters) GiveRegisters<88>();
    FetchTiles<kRows, kColumns>(args, row_map, ring);
  } else {
    if constexpr (kMovesRegisters) TakeRegisters<208>();
    MultiplyTiles<kRows, kColumns, kEpilogue>(args, ring);
  }
}

template <int kRows, int kColumns, Epilogue kEpilogue>
cudaError_t Launch(const GemmArgs& args, int num_processors, cudaStream_t stream) {
  using S = Shape<kRows, kColumns>;
  constexpr auto* kKernel = GemmKernel<kRows, kColumns, kEpilogue>;
  const cudaError_t allowed = AllowSharedBytes<kKernel, S::kSharedBytes>();
  if (allowed != cudaSuccess) return allowed;
  CUtensorMap row_map = {};
  if (args.gather == nullptr && args.stored_rows == 0) {
    const cudaError_t error =
        MakeRowMap(args.rows, args.num_rows, args.row_stride, kRows, &row_map);
    if (error != cudaSuccess) return error;
  }
  return LaunchChained(kKernel, num_processors, S::kThreads, S::kSharedBytes, stream, args,
                       row_map);
}

template <Epilogue kEpilogue>
cudaError_t LaunchShape(const GemmArgs& args, TileShape shape, int num_processors,
                        cudaStream_t stream) {
  const auto launch = [&]<int kRows, int kColumns>() {
    return Launch<kRows, kColumns, kEpilogue>(args, num_processors, stream);
  };
  if (shape == TileShape{128, 256}) return launch.template operator()<128, 256>();
  if (shape == TileShape{128, 128}) return launch.template operator()<128, 128>();
  if (shape == TileShape{64, 256}) return launch.template operator()<64, 256>();
  if (shape == TileShape{64, 128}) return launch.template operator()<64, 128>();
  if (shape == TileShape{64, 32}) return launch.template operator()<64, 32>();
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t LaunchGemm(const GemmArgs& args, TileShape shape, Epilogue epilogue, int num_processors,
                       cudaStream_t stream) {
  if (shape == kFewRowsTile) return LaunchFewRows(args, epilogue, num_processors, stream);
  if (args.weights[0].scales != nullptr) {
    return LaunchMxfp4(args, shape, epilogue, num_processors, stream);
  }
  switch (epilogue) {
    case Epilogue::kBFloat16:
      return LaunchShape<Epilogue::kBFloat16>(args, shape, num_processors, stream);
    case Epilogue::kSilu:
      return LaunchShape<Epilogue::kSilu>(args, shape, num_processors, stream);
    case Epilogue::kSwiGlu:
      return LaunchShape<Epilogue::kSwiGlu>(args, shape, num_processors, stream);
    case Epilogue::kFloat32:
      return LaunchShape<Epilogue::kFloat32>(args, shape, num_processors, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace expertile::cuda
