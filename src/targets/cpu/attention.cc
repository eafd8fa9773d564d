#include "targets/cpu/attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/error.h"
#include "targets/cpu/gemm.h"

namespace expertile::cpu {
namespace {

// A sink alone. An infinite one leaves the softmax without a value.
SoftmaxState StateOfSink(float sink) {
  const bool is_infinite = sink == std::numeric_limits<float>::infinity();
  return {sink, is_infinite ? std::numeric_limits<float>::quiet_NaN() : 1.0f};
}

// Of `keys`, those of the segment that begins at `begin`, counted from there.
KeySpan WithinSegment(KeySpan keys, int64_t begin) {
  return {std::clamp<int64_t>(keys.begin - begin, 0, kSegmentSize),
          std::clamp<int64_t>(keys.end - begin, 0, kSegmentSize)};
}

}  // namespace

Result<BlockAttention> BlockAttention::Create(const KernelTable& table, ComputeType type,
                                              const KvCache& cache, int num_workers) {
  const bool is_float32 = cache.shape().format == KvFormat::kFloat32;
  BlockAttention attention(table, table.gemm(is_float32 ? ComputeType::kFloat32 : type));
  for (int i = 0; i < num_workers; ++i) {
    attention.workers_.emplace_back(table, *attention.kernels_);
  }
  for (WorkerScratch& worker : attention.workers_) {
    if (attention.Reserve(worker, cache)) continue;
    return Fail(ErrorCode::kOutOfMemory, "attention scratch: D={} for {} workers",
                cache.shape().head_dim, num_workers);
  }
  return attention;
}

bool BlockAttention::Reserve(WorkerScratch& scratch, const KvCache& cache) const {
  const int64_t head_dim = cache.shape().head_dim;
  const int64_t rows = kernels_->max_tile_rows;
  const int64_t columns = table_->panel_columns;
  const int64_t width = cache.num_value_panels() * columns;
  scratch.tiles.reserve(CeilDiv(kMaxPiecePairs, rows));
  return scratch.queries.Reserve(kMaxPiecePairs * RoundUp(head_dim, kDepthMultiple) *
                                 kernels_->activation_size) &&
         scratch.sums.Reserve(kMaxPiecePairs * width) &&
         std::ranges::all_of(scratch.stages,
                             [&](Stage& stage) {
                               return stage.scores.Reserve(kSegmentSize * rows) &&
                                      stage.probabilities.Reserve(kSegmentSize * (rows + 1) *
                                                                  kernels_->activation_size);
                             }) &&
         scratch.part.Reserve(rows * width) && scratch.reader.Reserve(cache) &&
         scratch.seen.Reserve(kSegmentSize * columns * sizeof(float));
}

void BlockAttention::Run(const AttentionPass& pass, const KvCache& cache, WorkerPool& pool) {
  Plan(pass, cache, pool.size());
  pool.ForEach(static_cast<int64_t>(plan_.pieces.size()), [&](int64_t piece, int worker) {
    RunPiece(pass, cache, plan_.pieces[piece], workers_[worker]);
  });
  if (plan_.merges.empty()) return;
  pool.ForEach(static_cast<int64_t>(plan_.merges.size()), [&](int64_t piece, int worker) {
    Merge(pass, cache, plan_.merges[piece], workers_[worker]);
  });
}

void BlockAttention::Plan(const AttentionPass& pass, const KvCache& cache, int num_workers) {
  const int num_kv_heads = cache.shape().num_kv_heads;
  const AttentionRows rows = {pass.sequences, pass.positions, pass.window};
  const AttentionShape shape = {num_kv_heads, pass.num_heads / num_kv_heads,
                                kernels_->max_tile_rows, num_workers};
  plan_.Make(rows, shape, /*may_split=*/true);
  const int64_t part_size =
      kernels_->max_tile_rows * (cache.num_value_panels() * table_->panel_columns + 2);
  if (!parts_.Reserve(plan_.num_parts * part_size)) plan_.Make(rows, shape, /*may_split=*/false);
}

BlockAttention::Part BlockAttention::PartAt(int64_t number, const KvCache& cache) {
  const int64_t sums = kernels_->max_tile_rows * cache.num_value_panels() * table_->panel_columns;
  float* part = parts_.data() + number * (sums + 2 * kernels_->max_tile_rows);
  static_assert(sizeof(SoftmaxState) == 2 * sizeof(float));
  return {reinterpret_cast<SoftmaxState*>(part + sums), part};
}

void BlockAttention::ListTiles(const AttentionPass& pass, const KvCache& cache,
                               const AttentionPiece& piece, WorkerScratch& scratch) const {
  const int64_t group = pass.num_heads / cache.shape().num_kv_heads;
  const RowTiles split = TilesOf(*kernels_, piece.num_pairs);
  const int64_t depth = RoundUp(cache.shape().head_dim, kDepthMultiple);
  const int64_t width = cache.num_value_panels() * table_->panel_columns;
  scratch.tiles.clear();
  for (int64_t i = 0; i < split.num_tiles(); ++i) {
    Tile tile;
    tile.num_pairs = split.Size(i);
    tile.all = {std::numeric_limits<int64_t>::max(), 0};
    for (int p = 0; p < tile.num_pairs; ++p) {
      const int64_t pair = piece.first_pair + split.Begin(i) + p;
      const int64_t row = piece.first_row + pair / group;
      const int64_t head = piece.kv_head * group + pair % group;
      tile.heads[p] = static_cast<int32_t>(row * pass.num_heads + head);
      tile.seen[p] = KeysSeen(pass.positions[row], pass.window);
      tile.states[p] = pass.sinks != nullptr
                           ? StateOfSink(pass.sinks[head])
                           : SoftmaxState{-std::numeric_limits<float>::infinity(), 0.0f};
      tile.all = {std::min(tile.all.begin, tile.seen[p].begin),
                  std::max(tile.all.end, tile.seen[p].end)};
    }
    tile.query = scratch.queries.data() + split.Begin(i) * depth * kernels_->activation_size;
    tile.sums = scratch.sums.data() + split.Begin(i) * width;
    std::fill_n(tile.sums, tile.num_pairs * width, 0.0f);
    scratch.tiles.push_back(tile);
  }
}

void BlockAttention::RunPiece(const AttentionPass& pass, const KvCache& cache,
                              const AttentionPiece& piece, WorkerScratch& scratch) {
  const int64_t head_dim = cache.shape().head_dim;
  const TileScope scope(*kernels_);
  ListTiles(pass, cache, piece, scratch);
  for (const Tile& tile : scratch.tiles) {
    kernels_->pack(pass.query, head_dim, tile.heads.data(), tile.num_pairs, head_dim, tile.query);
  }
  const KvHead kv = {&cache, pass.block_tables[pass.sequences[piece.first_row]], piece.kv_head};
  const KeySpan seen = {scratch.tiles.front().all.begin, scratch.tiles.back().all.end};
  const auto num_tiles = static_cast<int64_t>(scratch.tiles.size());
  for (int64_t s = piece.first_segment; s < piece.end_segment; ++s) {
    const int64_t begin = s * kSegmentSize;
    const KeySegment segment =
        scratch.reader.Read(kv, begin, WithinSegment(seen, begin), num_tiles > 1);
    scratch.fetch.Clear();
    if (num_tiles > 1 && s + 1 < piece.end_segment) {
      scratch.fetch.Start(kv, begin + kSegmentSize, seen.end, num_tiles, kernels_->block_depth);
    }
    if (piece.first_part < 0) {
      AddSegment(pass, cache, segment, scratch);
      continue;
    }
    const Part part = PartAt(piece.first_part + s - piece.first_segment, cache);
    ComputePart(pass, cache, scratch.tiles.front(), segment, part, scratch);
  }
  if (piece.first_part >= 0) return;
  for (const Tile& tile : scratch.tiles) {
    table_->store_softmax(tile.sums, tile.states.data(), tile.num_pairs, head_dim,
                          tile.heads.data(), pass.mixed);
  }
}

void BlockAttention::Merge(const AttentionPass& pass, const KvCache& cache,
                           const AttentionPiece& piece, WorkerScratch& scratch) {
  ListTiles(pass, cache, piece, scratch);
  Tile& tile = scratch.tiles.front();
  for (int64_t s = piece.first_segment; s < piece.end_segment; ++s) {
    const Part part = PartAt(piece.first_part + s - piece.first_segment, cache);
    table_->merge_softmax(part.sums, part.states, tile.num_pairs,
                          static_cast<int>(cache.num_value_panels()), tile.sums,
                          tile.states.data());
  }
  table_->store_softmax(tile.sums, tile.states.data(), tile.num_pairs, cache.shape().head_dim,
                        tile.heads.data(), pass.mixed);
}

// Several tiles fetch the segment after theirs; a tile that is alone its own next panel, for it
// waits for memory most of the time.
Prefetch BlockAttention::TakeFetch(const KeySegment& segment, int64_t depth, const std::byte* next,
                                   WorkerScratch& scratch) const {
  const int64_t num_blocks = CeilDiv(depth, kernels_->block_depth);
  if (scratch.tiles.size() > 1) return scratch.fetch.Take(num_blocks);
  if (segment.is_expanded || next == nullptr) return {};
  return {next, static_cast<int>(CeilDiv(depth * segment.depth_bytes / 64, num_blocks))};
}

void BlockAttention::AddSegment(const AttentionPass& pass, const KvCache& cache,
                                const KeySegment& segment, WorkerScratch& scratch) const {
  const bool is_beside = !segment.is_float32 && kernels_->finish_softmax != nullptr;
  Stage* before = nullptr;
  for (Tile& tile : scratch.tiles) {
    const KeySpan keys = WithinSegment(tile.all, segment.begin);
    if (keys.begin >= keys.end) continue;
    Stage& stage = scratch.stages[before == scratch.stages.data() ? 1 : 0];
    Begin(segment, pass.scale, tile, stage.states.data(), stage);
    AddScores(segment, cache.shape().head_dim, before != nullptr ? &before->softmax : nullptr,
              stage, scratch);
    if (before != nullptr) AddPart(segment, cache, *before, scratch);
    before = &stage;
    if (is_beside) continue;
    AddPart(segment, cache, stage, scratch);
    before = nullptr;
  }
  if (before != nullptr) AddPart(segment, cache, *before, scratch);
}

void BlockAttention::AddPart(const KeySegment& segment, const KvCache& cache, Stage& stage,
                             WorkerScratch& scratch) const {
  const auto num_panels = static_cast<int>(cache.num_value_panels());
  Weigh(stage.softmax);
  AddValues(segment, stage, num_panels, scratch.part.data(), scratch);
  table_->merge_softmax(scratch.part.data(), stage.states.data(), stage.tile->num_pairs, num_panels,
                        stage.tile->sums, stage.tile->states.data());
}

void BlockAttention::ComputePart(const AttentionPass& pass, const KvCache& cache, Tile& tile,
                                 const KeySegment& segment, Part part,
                                 WorkerScratch& scratch) const {
  Stage& stage = scratch.stages[0];
  Begin(segment, pass.scale, tile, part.states, stage);
  AddScores(segment, cache.shape().head_dim, /*before=*/nullptr, stage, scratch);
  Weigh(stage.softmax);
  AddValues(segment, stage, cache.num_value_panels(), part.sums, scratch);
}

void BlockAttention::Begin(const KeySegment& segment, float scale, Tile& tile, SoftmaxState* states,
                           Stage& stage) const {
  const int64_t columns = table_->panel_columns;
  const KeySpan all = WithinSegment(tile.all, segment.begin);
  EXPERTILE_DCHECK(all.begin < all.end);
  stage.tile = &tile;
  stage.keys = {all.begin / columns * columns, RoundUp(all.end, 2)};
  stage.num_panels = static_cast<int>(CeilDiv(all.end - stage.keys.begin, columns));
  for (int p = 0; p < tile.num_pairs; ++p) {
    const KeySpan seen = WithinSegment(tile.seen[p], segment.begin);
    stage.valid[p] = {static_cast<int>(seen.begin - stage.keys.begin),
                      static_cast<int>(seen.end - stage.keys.begin)};
    if (seen.begin >= seen.end) stage.valid[p] = {0, 0};
  }
  stage.softmax = {stage.scores.data(),       tile.num_pairs, stage.num_panels,
                   stage.valid.data(),        scale,          states,
                   stage.probabilities.data()};
}

void BlockAttention::AddScores(const KeySegment& segment, int64_t head_dim, SoftmaxWork* before,
                               Stage& stage, WorkerScratch& scratch) const {
  const int num_pairs = stage.tile->num_pairs;
  const int64_t size = num_pairs * table_->panel_columns;
  const int64_t first_panel = stage.keys.begin / table_->panel_columns;
  for (int i = 0; i < stage.num_panels; ++i) {
    const std::byte* const* panel = &segment.keys[first_panel + i];
    const std::byte* next = i + 1 < stage.num_panels ? panel[1] : nullptr;
    float* scores = stage.scores.data() + i * size;
    const Prefetch fetch = TakeFetch(segment, head_dim, next, scratch);
    if (before != nullptr) {
      kernels_->bfloat16_scores[num_pairs](stage.tile->query, *panel, head_dim, scores, fetch,
                                           *before);
    } else {
      TileKernels(segment)[num_pairs](stage.tile->query, *panel, head_dim, scores, /*first=*/true,
                                      fetch);
    }
  }
}

void BlockAttention::Weigh(SoftmaxWork& softmax) const {
  if (kernels_->finish_softmax != nullptr) return kernels_->finish_softmax(softmax);
  kernels_->softmax(softmax.scores, softmax.num_rows, softmax.num_panels, softmax.valid,
                    softmax.scale, softmax.states, softmax.tile);
}

void BlockAttention::AddValues(const KeySegment& segment, Stage& stage, int64_t num_panels,
                               float* sums, WorkerScratch& scratch) const {
  const int num_pairs = stage.tile->num_pairs;
  const KeySpan keys = stage.keys;
  if (segment.has_non_finite) return AddSeenValues(segment, stage, num_panels, sums, scratch);
  const bool in_runs = !segment.is_expanded && scratch.tiles.size() > 1;
  if (in_runs && kernels_->bfloat16_runs[num_pairs] != nullptr) {
    return AddValuesInRuns(segment, stage, num_panels, sums, scratch);
  }
  const TileKernel multiply = TileKernels(segment)[num_pairs];
  const int64_t step_bytes = num_pairs * kernels_->activation_size;
  const int64_t first_run = keys.begin / segment.run_size;
  for (int64_t n = 0; n < num_panels; ++n, sums += num_pairs * table_->panel_columns) {
    for (int64_t begin = keys.begin; begin < keys.end;) {
      const int64_t run = begin / segment.run_size;
      const int64_t end = std::min(keys.end, (run + 1) * segment.run_size);
      const std::byte* values = segment.values[run] + n * segment.value_stride +
                                begin % segment.run_size * segment.depth_bytes;
      const std::byte* next = end < keys.end
                                  ? segment.values[run + 1] + n * segment.value_stride
                                  : segment.values[first_run] + (n + 1) * segment.value_stride;
      multiply(stage.probabilities.data() + (begin - keys.begin) * step_bytes, values, end - begin,
               sums, /*first=*/begin == keys.begin, TakeFetch(segment, end - begin, next, scratch));
      begin = end;
    }
  }
}

void BlockAttention::AddValuesInRuns(const KeySegment& segment, const Stage& stage,
                                     int64_t num_panels, float* sums,
                                     WorkerScratch& scratch) const {
  const int num_pairs = stage.tile->num_pairs;
  const KeySpan keys = stage.keys;
  const RunsKernel multiply = kernels_->bfloat16_runs[num_pairs];
  std::array<PanelRun, kSegmentSize / kKvBlockSize> runs;
  int num_runs = 0;
  for (int64_t begin = keys.begin; begin < keys.end;) {
    const int64_t run = begin / segment.run_size;
    const int64_t end = std::min(keys.end, (run + 1) * segment.run_size);
    runs[num_runs++] = {segment.values[run] + begin % segment.run_size * segment.depth_bytes,
                        end - begin};
    begin = end;
  }
  for (int64_t n = 0; n < num_panels; ++n, sums += num_pairs * table_->panel_columns) {
    multiply(stage.probabilities.data(), std::span(runs).first(num_runs), sums,
             TakeFetch(segment, keys.end - keys.begin, nullptr, scratch));
    for (int i = 0; i < num_runs; ++i) runs[i].panel += segment.value_stride;
  }
}

void BlockAttention::AddSeenValues(const KeySegment& segment, Stage& stage, int64_t num_panels,
                                   float* sums, WorkerScratch& scratch) const {
  const KeySpan keys = stage.keys;
  const auto& valid = stage.valid;
  const TileKernel multiply = TileKernels(segment)[1];
  const auto num_pairs = int64_t{stage.tile->num_pairs};
  const int64_t step_bytes = kernels_->activation_size;
  const int64_t chunk_bytes = kernels_->block_depth * step_bytes;
  const int64_t num_chunks = CeilDiv(keys.end - keys.begin, kernels_->block_depth);
  // One pair's probabilities, behind the tile's.
  std::byte* row = stage.probabilities.data() + kSegmentSize * kernels_->max_tile_rows * step_bytes;
  for (int64_t p = 0; p < num_pairs; ++p) {
    if (valid[p].begin >= valid[p].end) continue;
    const KeySpan seen = {keys.begin + valid[p].begin, keys.begin + valid[p].end};
    for (int64_t i = 0; i < num_chunks; ++i) {
      std::memcpy(row + i * chunk_bytes,
                  stage.probabilities.data() + (i * num_pairs + p) * chunk_bytes, chunk_bytes);
    }
    for (int64_t n = 0; n < num_panels; ++n) {
      for (int64_t begin = keys.begin; begin < keys.end;) {
        const int64_t run = begin / segment.run_size;
        const int64_t end = std::min(keys.end, (run + 1) * segment.run_size);
        CopySeen(segment,
                 segment.values[run] + n * segment.value_stride +
                     begin % segment.run_size * segment.depth_bytes,
                 end - begin, {seen.begin - begin, seen.end - begin}, scratch.seen.data());
        multiply(row + (begin - keys.begin) * step_bytes, scratch.seen.data(), end - begin,
                 sums + (n * num_pairs + p) * table_->panel_columns,
                 /*first=*/begin == keys.begin, {});
        begin = end;
      }
    }
  }
}

void BlockAttention::CopySeen(const KeySegment& segment, const std::byte* panel, int64_t depth,
                              KeySpan seen, std::byte* out) const {
  const int64_t columns = table_->panel_columns;
  std::memcpy(out, panel, depth * segment.depth_bytes);
  for (int64_t k = 0; k < depth; ++k) {
    if (k >= seen.begin && k < seen.end) continue;
    if (segment.is_float32) {
      std::fill_n(reinterpret_cast<float*>(out) + k * columns, columns, 0.0f);
      continue;
    }
    auto* pairs = reinterpret_cast<uint16_t*>(out) + k / 2 * 2 * columns + k % 2;
    for (int64_t column = 0; column < columns; ++column) pairs[2 * column] = 0;
  }
}

}  // namespace expertile::cpu
