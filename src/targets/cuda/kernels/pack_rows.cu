// A warp copies 8 rows of a tile: each time 128 bytes of every row, which lie side by side in
// tiles.
#include <algorithm>

#include "targets/cuda/kernels/launch.cuh"
#include "targets/cuda/kernels/pack_rows.h"
#include "targets/cuda/kernels/tile_layout.h"

namespace expertile::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kRows = kColumnsPerAtom;   // of a warp: as many as share a swizzle
constexpr int kChunks = kTileDepth / 8;  // of 16 bytes of a row in a tile
constexpr int kRowsAtOnce = 32 / kChunks;
constexpr int kDepthPerWarp = 12;  // tiles, so that short lists of rows keep the device busy, too
constexpr int kUnrolled = 4;

// Lane l copies chunk l % 8 of rows l / 8 and l / 8 + 4.
__global__ __launch_bounds__(32 * kWarps) void PackRowsKernel(const PackRowsArgs args) {
  LetNextKernelBegin();
  WaitForEarlierKernels();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int chunk = lane % kChunks;
  const int groups = args.tile_rows / kRows;
  const int64_t unit =
      static_cast<int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  const auto tile_index = static_cast<int>(unit / groups);
  if (tile_index >= *args.num_row_tiles) return;
  const RowTile tile = args.row_tiles[tile_index];
  const int first = static_cast<int>(unit % groups) * kRows;  // of the tile's rows
  const int begin = static_cast<int>(blockIdx.y) * kDepthPerWarp;
  const int end = min(begin + kDepthPerWarp, args.depth_tiles);
#pragma unroll
  for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
    const int row = lane / kChunks + i * kRowsAtOnce;
    const int packed = tile.begin + first + row;
    if (packed >= tile.end) continue;
    const auto* source = reinterpret_cast<const uint4*>(
        args.rows + args.gather[packed] / args.gather_divisor * args.row_stride);
    auto* target = reinterpret_cast<uint4*>(args.packed) +
                   (int64_t{tile.stored} + first + row) * kChunks + (chunk ^ row);
#pragma unroll kUnrolled
    for (int depth = begin; depth < end; ++depth) {
      target[depth * args.stored_rows * kChunks] = __ldg(source + depth * kChunks + chunk);
    }
  }
}

}  // namespace

cudaError_t LaunchPackRows(const PackRowsArgs& args, cudaStream_t stream) {
  const int64_t warps = args.max_row_tiles * (args.tile_rows / kRows);
  const dim3 blocks(static_cast<unsigned>((warps + kWarps - 1) / kWarps),
                    static_cast<unsigned>((args.depth_tiles + kDepthPerWarp - 1) / kDepthPerWarp));
  return LaunchChained(PackRowsKernel, blocks, 32 * kWarps, 0, stream, args);
}

}  // namespace expertile::cuda
