#include "targets/cpu/attention.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "targets/cpu/gemm.h"

namespace expertile::cpu {
namespace {

// Keys [begin, end) that a query at `position` sees.
struct Keys {
  int64_t begin;
  int64_t end;
};

Keys KeysSeen(int64_t position, int64_t window) {
  const int64_t end = position + 1;
  return {window == 0 ? 0 : std::max<int64_t>(0, end - window), end};
}

// A sink alone. An infinite one leaves the softmax without a value.
SoftmaxState StateOfSink(float sink) {
  const bool is_infinite = sink == std::numeric_limits<float>::infinity();
  return {sink, is_infinite ? std::numeric_limits<float>::quiet_NaN() : 1.0f};
}

}  // namespace

Result<BlockAttention> BlockAttention::Create(const KernelTable& table, const KvCache& cache,
                                              int num_workers) {
  const int64_t head_dim = cache.shape().head_dim;
  BlockAttention attention(table);
  attention.workers_.resize(num_workers);
  const int64_t rows = table.float32.max_tile_rows;
  const int64_t columns = table.panel_columns;
  const int64_t panels = CeilDiv(head_dim, columns);
  const int size = table.float32.activation_size;
  bool fits = true;
  for (WorkerScratch& worker : attention.workers_) {
    fits = fits && worker.query.Reserve(rows * RoundUp(head_dim, kDepthMultiple) * size) &&
           worker.probabilities.Reserve(rows * RoundUp(columns, kDepthMultiple) * size) &&
           worker.scores.Reserve(rows * columns) && worker.sums.Reserve(panels * rows * columns) &&
           worker.decoded.Reserve(cache.scratch_size()) && worker.seen.Reserve(columns * columns);
  }
  if (fits) return attention;
  return Fail(ErrorCode::kOutOfMemory, "attention scratch: D={} for {} workers", head_dim,
              num_workers);
}

void BlockAttention::Run(const AttentionPass& pass, const KvCache& cache, WorkerPool& pool) {
  ListTiles(pass, cache.shape().num_kv_heads);
  pool.ForEach(static_cast<int64_t>(tiles_.size()), [&](int64_t piece, int worker) {
    RunTile(pass, cache, tiles_[piece], workers_[worker]);
  });
}

void BlockAttention::ListTiles(const AttentionPass& pass, int num_kv_heads) {
  tiles_.clear();
  const auto num_rows = static_cast<int64_t>(pass.positions.size());
  const int64_t group = pass.num_heads / num_kv_heads;
  for (int64_t first = 0, last = 0; first < num_rows; first = last) {
    while (last < num_rows && pass.sequences[last] == pass.sequences[first]) ++last;
    const RowTiles split((last - first) * group, table_->float32.max_tile_rows);
    for (int kv_head = 0; kv_head < num_kv_heads; ++kv_head) {
      for (int64_t i = 0; i < split.num_tiles(); ++i) {
        tiles_.push_back({pass.block_tables[pass.sequences[first]], kv_head, first, split.Begin(i),
                          split.Size(i)});
      }
    }
  }
}

void BlockAttention::RunTile(const AttentionPass& pass, const KvCache& cache, const Tile& tile,
                             WorkerScratch& scratch) const {
  const int64_t head_dim = cache.shape().head_dim;
  const int columns = table_->panel_columns;
  const int64_t group = pass.num_heads / cache.shape().num_kv_heads;
  const GemmKernels& kernels = table_->float32;
  const TileKernel multiply = kernels.float32[tile.num_pairs];

  std::array<int32_t, kMaxTileRows> heads;  // row * num_heads + head of each pair
  std::array<Keys, kMaxTileRows> seen;
  std::array<SoftmaxState, kMaxTileRows> states;
  Keys all = {std::numeric_limits<int64_t>::max(), 0};
  for (int p = 0; p < tile.num_pairs; ++p) {
    const int64_t row = tile.first_row + (tile.first_pair + p) / group;
    const int64_t head = tile.kv_head * group + (tile.first_pair + p) % group;
    heads[p] = static_cast<int32_t>(row * pass.num_heads + head);
    seen[p] = KeysSeen(pass.positions[row], pass.window);
    states[p] = pass.sinks != nullptr ? StateOfSink(pass.sinks[head])
                                      : SoftmaxState{-std::numeric_limits<float>::infinity(), 0.0f};
    all = {std::min(all.begin, seen[p].begin), std::max(all.end, seen[p].end)};
  }
  kernels.pack(pass.query, head_dim, heads.data(), tile.num_pairs, head_dim, scratch.query.data());
  const int64_t num_panels = cache.num_value_panels();
  const int64_t sums_size = tile.num_pairs * columns;
  std::fill_n(scratch.sums.data(), num_panels * sums_size, 0.0f);

  for (int64_t strip = all.begin / columns; strip * columns < all.end; ++strip) {
    std::array<KeyRange, kMaxTileRows> valid;
    for (int p = 0; p < tile.num_pairs; ++p) {
      valid[p] = {
          static_cast<int>(std::clamp<int64_t>(seen[p].begin - strip * columns, 0, columns)),
          static_cast<int>(std::clamp<int64_t>(seen[p].end - strip * columns, 0, columns))};
    }
    const float* keys = cache.KeyPanel(tile.blocks, tile.kv_head, strip, scratch.decoded.data());
    multiply(scratch.query.data(), reinterpret_cast<const std::byte*>(keys), head_dim,
             scratch.scores.data(), /*first=*/true, {});
    std::array<float, kMaxTileRows> rescale;
    table_->softmax_block(scratch.scores.data(), tile.num_pairs, valid.data(), pass.scale,
                          states.data(), rescale.data());
    for (int64_t panel = 0; panel < num_panels; ++panel) {
      for (int p = 0; p < tile.num_pairs; ++p) {
        if (rescale[p] == 1.0f) continue;
        float* sums = scratch.sums.data() + panel * sums_size + p * columns;
        for (int j = 0; j < columns; ++j) sums[j] *= rescale[p];
      }
    }
    const float* values =
        cache.ValuePanels(tile.blocks, tile.kv_head, strip, scratch.decoded.data());
    if (cache.HasNonFiniteValues(tile.blocks, tile.kv_head, strip)) {
      AddSeenValues(values, num_panels, std::span(valid).first(tile.num_pairs), scratch);
    } else {
      AddValues(values, num_panels, tile.num_pairs, scratch);
    }
  }
  StoreMixed(pass, head_dim, std::span(heads).first(tile.num_pairs), states, scratch.sums.data());
}

void BlockAttention::AddValues(const float* values, int64_t num_panels, int num_pairs,
                               WorkerScratch& scratch) const {
  const int64_t columns = table_->panel_columns;
  table_->float32.pack(scratch.scores.data(), columns, nullptr, num_pairs, columns,
                       scratch.probabilities.data());
  for (int64_t panel = 0; panel < num_panels; ++panel) {
    table_->float32.float32[num_pairs](
        scratch.probabilities.data(),
        reinterpret_cast<const std::byte*>(values + panel * columns * columns), columns,
        scratch.sums.data() + panel * num_pairs * columns, /*first=*/false, {});
  }
}

void BlockAttention::AddSeenValues(const float* values, int64_t num_panels,
                                   std::span<const KeyRange> valid, WorkerScratch& scratch) const {
  const int64_t columns = table_->panel_columns;
  const auto num_pairs = static_cast<int64_t>(valid.size());
  for (int64_t p = 0; p < num_pairs; ++p) {
    const auto [begin, end] = valid[p];
    if (begin >= end) continue;
    table_->float32.pack(scratch.scores.data() + p * columns, columns, nullptr, 1, columns,
                         scratch.probabilities.data());
    for (int64_t panel = 0; panel < num_panels; ++panel) {
      std::fill_n(scratch.seen.data(), columns * columns, 0.0f);
      std::copy_n(values + (panel * columns + begin) * columns, (end - begin) * columns,
                  scratch.seen.data() + begin * columns);
      table_->float32.float32[1](scratch.probabilities.data(),
                                 reinterpret_cast<const std::byte*>(scratch.seen.data()), columns,
                                 scratch.sums.data() + (panel * num_pairs + p) * columns,
                                 /*first=*/false, {});
    }
  }
}

void BlockAttention::StoreMixed(const AttentionPass& pass, int64_t head_dim,
                                std::span<const int32_t> heads,
                                std::span<const SoftmaxState> states, const float* sums) const {
  const int64_t columns = table_->panel_columns;
  for (size_t p = 0; p < heads.size(); ++p) {
    float* mixed = pass.mixed + heads[p] * head_dim;
    for (int64_t d = 0; d < head_dim; ++d) {
      const size_t panel_row = d / columns * heads.size() + p;
      mixed[d] = sums[panel_row * columns + d % columns] / states[p].sum;
    }
  }
}

}  // namespace expertile::cpu
