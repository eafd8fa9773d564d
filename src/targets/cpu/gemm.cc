#include "targets/cpu/gemm.h"

#include "base/check.h"

namespace expertile::cpu {
namespace {

// Fetching the bytes after a slice is spread over the k-blocks of what passes over it: its
// expansion, if there is one, and all row tiles.
class PrefetchPlan {
 public:
  PrefetchPlan(const std::byte* next, int64_t num_bytes, int64_t num_passes, int64_t depth,
               int block_depth)
      : next_(next), num_bytes_(num_bytes), block_depth_(block_depth) {
    const int64_t blocks_per_pass = CeilDiv(depth, block_depth);
    lines_per_block_ = CeilDiv(num_bytes / 64, num_passes * blocks_per_pass);
    bytes_per_pass_ = lines_per_block_ * blocks_per_pass * 64;
  }
  Prefetch ForTile(int64_t pass) const {
    const int64_t offset = pass * bytes_per_pass_;
    if (offset >= num_bytes_) return {};
    return {next_ + offset, static_cast<int>(lines_per_block_)};
  }
  // The first pass, in blocks of kMxBlockSize.
  Prefetch ForExpansion() const {
    return {next_, static_cast<int>(lines_per_block_ * kMxBlockSize / block_depth_)};
  }

 private:
  const std::byte* next_;
  int64_t num_bytes_;
  int block_depth_;
  int64_t lines_per_block_;
  int64_t bytes_per_pass_;
};

}  // namespace

bool PanelScratch::Reserve(const KernelTable& table, int64_t max_rows) {
  const int64_t depth = std::max(table.float32.slice_depth, table.bfloat16.slice_depth);
  return accumulators_.Reserve(static_cast<size_t>(max_rows * table.panel_columns)) &&
         expanded_.Reserve(static_cast<size_t>(depth * table.panel_columns)) &&
         staged_.Reserve(static_cast<size_t>(max_rows * table.mxint8.staged_columns));
}

void Gemm::Pack(const float* x, int64_t stride, const int32_t* rows, const PackedRows& packed,
                Range tiles) const {
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int64_t row = packed.tiles.Begin(tile);
    const float* source = rows != nullptr ? x : x + row * stride;
    packed.kernels->pack(source, stride, rows != nullptr ? rows + row : nullptr,
                         packed.tiles.Size(tile), packed.depth, packed.Tile(tile));
  }
}

void Gemm::Gather(const std::byte* single_rows, const int32_t* rows, const PackedRows& packed,
                  Range tiles) const {
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    packed.kernels->gather(single_rows, PackedBytes(1, packed.depth),
                           rows + packed.tiles.Begin(tile), packed.tiles.Size(tile), packed.depth,
                           packed.Tile(tile));
  }
}

// How tile kernels come to read slices of `format`.
Gemm::SliceReading Gemm::ReadingOf(WeightFormat format, const PackedRows& a) const {
  const GemmKernels& kernels = *a.kernels;
  const auto* of_expanded = kernels.float32[1] != nullptr ? &kernels.float32 : &kernels.bfloat16;
  switch (format) {
    case WeightFormat::kFloat32:
      return {nullptr, &kernels.float32};
    case WeightFormat::kBFloat16:
      if (!kernels.expand_pays || a.tiles.num_tiles() == 1) return {nullptr, &kernels.bfloat16};
      return {table_.expand_panel, &kernels.float32};
    case WeightFormat::kMxfp6:
      return {kernels.expand_mxfp6, of_expanded};
    case WeightFormat::kMxfp4:
      return {kernels.expand_mxfp4, of_expanded};
    case WeightFormat::kMxint8:
      break;
  }
  return {kernels.expand_mxint8, &kernels.mxint8};
}

void Gemm::MultiplySlice(const PackedRows& a, const PanelMatrix& matrix, const std::byte* slice,
                         int64_t k, int64_t depth, PanelScratch& scratch) const {
  const SliceReading reading = ReadingOf(matrix.format, a);
  const int64_t num_tiles = a.tiles.num_tiles();
  const int64_t num_bytes = matrix.SliceBytes(depth);
  const int num_expansions = reading.expand != nullptr ? 1 : 0;
  const PrefetchPlan plan(slice + num_bytes, num_bytes, num_tiles + num_expansions, depth,
                          a.kernels->block_depth);
  if (reading.expand != nullptr) {
    auto* expanded = reinterpret_cast<std::byte*>(scratch.expanded());
    reading.expand(slice, depth, expanded, plan.ForExpansion());
    slice = expanded;
  }
  for (int64_t tile = 0; tile < num_tiles; ++tile) {
    const int rows = a.tiles.Size(tile);
    float* c = scratch.accumulators() + a.tiles.Begin(tile) * table_.panel_columns;
    (*reading.tile_kernels)[static_cast<size_t>(rows)](a.TileFrom(tile, k), slice, depth, c, k == 0,
                                                       plan.ForTile(tile + num_expansions));
  }
}

void Gemm::Multiply(const PackedRows& a, const PanelMatrix& matrix, int64_t panel,
                    PanelScratch& scratch) const {
  EXPERTILE_DCHECK(a.depth == matrix.in && matrix.panel_columns == table_.panel_columns);
  EXPERTILE_DCHECK(&kernels_ == &table_.gemm(type_, matrix.format));
  EXPERTILE_DCHECK(a.kernels == &KernelsOf(a.tiles.num_rows()));
  const int64_t slice_depth = a.kernels->slice_depth;
  const std::byte* slice = matrix.Panel(panel);
  for (int64_t k = 0; k < matrix.padded_in(); k += slice_depth) {
    const int64_t depth = std::min(slice_depth, matrix.padded_in() - k);
    MultiplySlice(a, matrix, slice, k, depth, scratch);
    slice += matrix.SliceBytes(depth);
  }
}

void Gemm::Store(const PackedRows& a, const PanelMatrix& matrix, Range range, RowSink sink,
                 PanelScratch& scratch) const {
  const TileScope scope(*a.kernels);
  for (int64_t panel = range.begin; panel < range.end; ++panel) {
    Multiply(a, matrix, panel, scratch);
    const int64_t column = panel * table_.panel_columns;
    const int num_columns =
        static_cast<int>(std::min<int64_t>(table_.panel_columns, matrix.out - column));
    table_.store_rows(scratch.accumulators(), static_cast<int>(a.tiles.num_rows()),
                      matrix.PanelBias(panel), num_columns, sink.rows, sink.stride,
                      sink.data + column);
  }
}

void Gemm::Gate(const PackedRows& a, const PanelMatrix& gate_up, Range range,
                const GatedMlpSpec& spec, const PackedRows& activated,
                PanelScratch& scratch) const {
  const TileScope scope(*a.kernels);
  const int half = table_.panel_columns / 2;
  const bool is_staged = a.kernels->staged_columns != 0;
  EXPERTILE_DCHECK(range.begin % gate_panels() == 0);
  for (int64_t panel = range.begin; panel < range.end; ++panel) {
    Multiply(a, gate_up, panel, scratch);
    for (int64_t tile = 0; tile < a.tiles.num_tiles(); ++tile) {
      const int64_t row = a.tiles.Begin(tile);
      auto* staged =
          reinterpret_cast<std::byte*>(scratch.staged() + row * a.kernels->staged_columns);
      a.kernels->gate(scratch.accumulators() + row * table_.panel_columns, a.tiles.Size(tile),
                      gate_up.PanelBias(panel), spec, panel * half,
                      is_staged ? staged : activated.Tile(tile));
    }
    const bool is_block = (panel + 1) % gate_panels() == 0 || panel + 1 == range.end;
    if (is_staged && is_block) {
      const int64_t first = panel / gate_panels() * a.kernels->staged_columns;
      PackStaged(activated, first, std::min((panel + 1) * half, activated.depth), scratch);
    }
  }
}

void Gemm::PackStaged(const PackedRows& activated, int64_t first, int64_t end,
                      PanelScratch& scratch) const {
  const int64_t stride = activated.kernels->staged_columns;
  for (int64_t tile = 0; tile < activated.tiles.num_tiles(); ++tile) {
    activated.kernels->pack(scratch.staged() + activated.tiles.Begin(tile) * stride, stride,
                            nullptr, activated.tiles.Size(tile), end - first,
                            activated.TileFrom(tile, first));
  }
}

}  // namespace expertile::cpu
