// The warps that fetch for the matrix product of few rows: weights' columns and rows, stage by
// stage. Not those that multiply: gemm_few_rows.cu.
#pragma once

#include "targets/cuda/kernels/few_rows_ring.cuh"
#include "targets/cuda/kernels/launch.cuh"

namespace expertile::cuda::few_rows {

// A fetching warp: every so-many-th stage, which no other fills, all by copies of 16 bytes a lane.
// (Bulk copies of a tile's 2 KiB take one warp 200 cycles each to begin: 2.4 TB/s in all.)
template <bool kIsMxfp4>
class Fetcher {
 public:
  using S = Stage<kIsMxfp4>;

  __device__ Fetcher(const GemmArgs& args, const Ring& ring)
      : args_(args),
        ring_(ring),
        lane_(static_cast<int>(threadIdx.x) % 32),
        fetcher_(static_cast<int>(threadIdx.x) / 32 - S::kMultipliers),
        sources_(ring.sources + fetcher_ * kMaxMultipliers) {}

  __device__ void Run(Tiles& tiles) {
    int begun = 0;  // times a stage of each tile, whose columns are on their way already
    const bool is_known = args_.row_tiles == nullptr || args_.is_plan_there;
    if (is_known) {
      tiles.FindCount();
      begun = BeginColumns(tiles);
    }
    WaitForEarlierKernels();
    LetNextKernelBegin();
    if (!is_known) tiles.FindCount();
    const int sharers = min(S::kMultipliers, tiles.count());
    if (sharers <= 0) return;
    Place place(ring_, sharers);
    for (int first = 0; first < tiles.count(); first += sharers) {
      const int count = min(sharers, tiles.count() - first);
      if (!is_known || first > 0) FindSources(tiles, first, count);
      for (int step = 0; step < args_.depth_tiles; step += kSteps, place.Step(), --begun) {
        for (int i = 0; i < count; ++i) {
          const int stage = place.StageOf(i);
          if (stage % S::kFetchers != fetcher_) continue;
          if (begun <= 0) {
            Wait(&ring_.empty[stage], place.round() ^ 1);
            CopyColumns(sources_[i], step, stage);
          }
          CopyRows(sources_[i], step, stage);
        }
      }
    }
  }

 private:
  // Of the first stages, if it is known which: no earlier kernel writes weights.
  __device__ int BeginColumns(const Tiles& tiles) {
    const int count = min(S::kMultipliers, tiles.count());
    if (count <= 0) return 0;
    FindSources(tiles, 0, count);
    Place place(ring_, count);
    int begun = 0;
    for (int step = 0; step < args_.depth_tiles && begun < place.count(); step += kSteps, ++begun) {
      for (int i = 0; i < count; ++i) {
        const int stage = place.StageOf(i);
        if (stage % S::kFetchers == fetcher_) CopyColumns(sources_[i], step, stage);
      }
      place.Step();
    }
    return begun;
  }

  // Of a round's tiles. Row lane % 8 of tile lane / 8 and of those 4 further.
  __device__ void FindSources(const Tiles& tiles, int first, int count) {
    __syncwarp();
    for (int i = lane_ / kFewRowsTile.rows; i < count; i += 32 / kFewRowsTile.rows) {
      const TileWork work = tiles.WorkOf(first + i);
      if (lane_ % kFewRowsTile.rows == 0) FindColumns(work, sources_[i]);
      sources_[i].rows[lane_ % kFewRowsTile.rows] = RowOf(work.rows, lane_ % kFewRowsTile.rows);
    }
    __syncwarp();
  }
  __device__ void FindColumns(const TileWork& work, Source& source) const {
    const TiledWeights& weights = args_.weights[work.columns.weights];
    const int expert = work.rows.expert;
    source.columns = weights.data + expert * weights.bytes_per_expert +
                     static_cast<int64_t>(work.columns.begin) * S::kColumnBytes;
    const int64_t stored = S::StoredColumns(weights.columns);
    source.columns_step = stored * S::kColumnBytes;
    source.num_columns = static_cast<int>(S::StoredColumns(work.columns.end - work.columns.begin));
    source.num_rows = work.rows.end - work.rows.begin;
    if constexpr (kIsMxfp4) {
      source.scales = weights.scales + expert * weights.scales_per_expert +
                      static_cast<int64_t>(work.columns.begin) * S::kScaleBytes;
      source.scales_step = stored * S::kScaleBytes;
    }
  }
  __device__ const __nv_bfloat16* RowOf(const RowTile& rows, int row) const {
    const int packed = rows.begin + row;
    if (packed >= rows.end) return nullptr;
    if (args_.stored_rows != 0) return args_.rows + (rows.stored + row) * kTileDepth;
    const int64_t source =
        args_.gather != nullptr ? args_.gather[packed] / args_.gather_divisor : packed;
    return args_.rows + source * args_.row_stride;
  }

  __device__ void CopyColumns(const Source& source, int first_step, int stage) const {
    constexpr int kCopyBytes = 32 * 16;
    const int steps = min(kSteps, args_.depth_tiles - first_step);
    const int num_bytes = source.num_columns * S::kColumnBytes;
    const uint32_t target = ring_.stages + stage * ring_.stage_bytes;
    const std::byte* from = source.columns + first_step * source.columns_step + 16 * lane_;
#pragma unroll
    for (int step = 0; step < kSteps; ++step, from += source.columns_step) {
      if (step >= steps) break;
#pragma unroll
      for (int offset = 0; offset < S::kStepBytes; offset += kCopyBytes) {
        if (offset + 16 * lane_ >= num_bytes) break;
        CopyChunk(target + step * S::kStepBytes + offset + 16 * lane_, from + offset);
      }
    }
    if constexpr (kIsMxfp4) {  // two lanes a step
      const int step = lane_ / 2;
      if (step >= steps) return;
      CopyChunk(target + S::kScalesBegin + 16 * lane_,
                source.scales + (first_step + step) * source.scales_step + lane_ % 2 * 16);
    }
  }
  // Each lane a chunk of a step of every row.
  __device__ void CopyRows(const Source& source, int first_step, int stage) const {
    const int step = lane_ / 8;
    const int chunk = lane_ % 8;
    if (step < kSteps && first_step + step < args_.depth_tiles) {
      uint32_t target = ring_.stages + stage * ring_.stage_bytes + S::kRowsBegin +
                        step * args_.most_rows * kRowBytes + chunk * 16;
      const bool is_stored = args_.stored_rows != 0;
      int tile = first_step + step;
      while (tile >= args_.wrap_tiles) tile -= args_.wrap_tiles;
      const int64_t offset = (is_stored ? tile * args_.stored_rows : tile) * kTileDepth;
      const int rows = source.num_rows;
      for (int row = 0; row < rows; ++row, target += kRowBytes) {
        CopyChunk(target, source.rows[row] + offset + (is_stored ? chunk : chunk ^ row) * 8);
      }
    }
    ArriveAfterCopies(&ring_.full[stage]);
  }

  const GemmArgs& args_;
  const Ring& ring_;
  int lane_;
  int fetcher_;
  Source* sources_;
};

}  // namespace expertile::cuda::few_rows
