// Packed activations times packed weights, one column panel at a time: the loop nest around the
// tile kernels. Not parallel: callers hand out ranges of panels to workers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "formats/mxfp4.h"
#include "targets/cpu/kernel_table.h"

namespace expertile::cpu {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t RoundUp(int64_t a, int64_t multiple) { return CeilDiv(a, multiple) * multiple; }

// Rows split into the fewest tiles of at most max_tile_rows, in units of which only the last may
// lack rows; sizes differ by at most one unit, as counted with those.
class RowTiles {
 public:
  RowTiles(int64_t num_rows, int max_tile_rows, int unit = 1)
      : num_rows_(num_rows), unit_(unit), num_tiles_(CeilDiv(num_rows, max_tile_rows)) {
    if (num_tiles_ == 0) return;
    const int64_t num_units = CeilDiv(num_rows, unit);
    units_ = num_units / num_tiles_;
    num_larger_ = num_units % num_tiles_;
  }

  int64_t num_rows() const { return num_rows_; }
  int64_t num_tiles() const { return num_tiles_; }
  int64_t Begin(int64_t tile) const {
    return (tile * units_ + std::min(tile, num_larger_)) * unit_;
  }
  int Size(int64_t tile) const {
    return static_cast<int>(std::min(Begin(tile + 1), num_rows_) - Begin(tile));
  }

 private:
  int64_t num_rows_;
  int64_t unit_;
  int64_t num_tiles_;
  int64_t units_ = 0;
  int64_t num_larger_ = 0;  // the first tiles have units_ + 1 units
};

inline RowTiles TilesOf(const GemmKernels& kernels, int64_t num_rows) {
  return RowTiles(num_rows, kernels.max_tile_rows, kernels.tile_unit);
}

// Bytes that `depth` k-values (rounded up to kDepthMultiple) of a packed row take.
inline int64_t PackedRowBytes(const GemmKernels& kernels, int64_t depth) {
  return RoundUp(depth, kDepthMultiple) * kernels.activation_size +
         CeilDiv(depth, kDepthMultiple) * kernels.header_bytes;
}

// Activations [rows, depth] packed tile by tile, each tile padded to kDepthMultiple k-values.
struct PackedRows {
  std::byte* data;
  RowTiles tiles;
  int64_t depth;
  const GemmKernels* kernels;

  std::byte* Tile(int64_t tile) const { return data + tiles.Begin(tile) * RowBytes(); }
  // Where k-value `k`, a multiple of kDepthMultiple, begins in a tile.
  std::byte* TileFrom(int64_t tile, int64_t k) const {
    return Tile(tile) + tiles.Size(tile) * PackedRowBytes(*kernels, k);
  }
  int64_t RowBytes() const { return PackedRowBytes(*kernels, depth); }
};

// A weight matrix [out, in] as panels of panel_columns outputs; `out` is padded with zeros, `in` to
// an even number.
struct PanelMatrix {
  const std::byte* panels;
  const float* bias;  // [num_panels * panel_columns] in panel order; null = none
  WeightFormat format;
  int64_t in;
  int64_t out;  // columns stored by an epilogue (of a gate-up matrix: 2 * I)
  int panel_columns;

  int64_t padded_in() const { return in + in % 2; }
  int64_t num_panels() const { return CeilDiv(out, panel_columns); }
  // Of `depth` k-values of a panel: a multiple of 32 in kMxfp4; in kMxfp6 and kMxint8 the last
  // block is whole.
  int64_t SliceBytes(int64_t depth) const {
    switch (format) {
      case WeightFormat::kFloat32:
        return depth * panel_columns * 4;
      case WeightFormat::kBFloat16:
        return depth * panel_columns * 2;
      case WeightFormat::kMxfp6:
        return CeilDiv(depth, kMxBlockSize) * kMxfp6BlockBytes * panel_columns;
      case WeightFormat::kMxfp4:
        return depth / kMxBlockSize * (1 + kMxfp4BlockBytes) * panel_columns;
      case WeightFormat::kMxint8:
        return CeilDiv(depth, kMxBlockSize) * kMxint8BlockBytes * panel_columns;
    }
    return 0;
  }
  int64_t panel_bytes() const { return SliceBytes(padded_in()); }
  const std::byte* Panel(int64_t n) const { return panels + n * panel_bytes(); }
  const float* PanelBias(int64_t n) const { return bias ? bias + n * panel_columns : nullptr; }
};

// Accumulators, an expanded panel slice and staged gate outputs; one per worker.
class PanelScratch {
 public:
  // For products of up to max_rows rows. False if out of memory.
  bool Reserve(const KernelTable& table, int64_t max_rows);
  float* accumulators() { return accumulators_.data(); }  // [rows, panel_columns]
  float* expanded() { return expanded_.data(); }          // [slice depth, panel_columns]
  float* staged() { return staged_.data(); }              // [rows, staged_columns]

 private:
  AlignedBuffer<float> accumulators_;
  AlignedBuffer<float> expanded_;
  AlignedBuffer<float> staged_;
};

// Where rows of a product go: row r to data + rows[r] * stride (rows null: r * stride).
struct RowSink {
  float* data;
  int64_t stride;
  const int32_t* rows;
};

// Panels, or tiles, [begin, end).
struct Range {
  int64_t begin;
  int64_t end;
};

// A kernel table, the compute type and the loops over them.
class Gemm {
 public:
  Gemm(const KernelTable& table, ComputeType type)
      : table_(table), type_(type), kernels_(table.gemm(type)) {}
  // For products with weights in `format`, whose tiles are no larger and whose packed rows take no
  // more bytes: what is reserved for this one suffices.
  Gemm For(WeightFormat format) const { return Gemm(table_, type_, format); }

  const KernelTable& table() const { return table_; }
  int max_tile_rows() const { return kernels_.max_tile_rows; }
  // Rows are best cut at multiples of it.
  int cut_rows() const {
    return kernels_.tile_unit > 1 ? kernels_.tile_unit : kernels_.max_tile_rows;
  }
  int weights_rows() const { return kernels_.weights_rows; }
  // Rows that share one reading of a panel: their packed activations fit the second-level cache.
  // A multiple of cut_rows().
  int64_t RowsPerBlock() const { return 256 / cut_rows() * cut_rows(); }
  // The same of rows of this depth, which may take more of the cache than others.
  int64_t RowsPerBlock(int64_t depth) const {
    if (kernels_.block_bytes == 0) return RowsPerBlock();
    const int64_t rows = kernels_.block_bytes / PackedRowBytes(kernels_, depth);
    return std::clamp<int64_t>(rows / max_tile_rows() * max_tile_rows(), max_tile_rows(),
                               RowsPerBlock());
  }
  // Panels of a gate-up matrix that Gate is given together: a block of a packed tile.
  int64_t gate_panels() const {
    return kernels_.staged_columns == 0
               ? 1
               : int64_t{2} * kernels_.staged_columns / table_.panel_columns;
  }
  RowTiles Tiles(int64_t num_rows) const { return TilesOf(KernelsOf(num_rows), num_rows); }
  PackedRows View(std::byte* data, int64_t num_rows, int64_t depth) const {
    return {data, Tiles(num_rows), depth, &KernelsOf(num_rows)};
  }
  // Bytes that packing num_rows rows of `depth` takes at most.
  int64_t PackedBytes(int64_t num_rows, int64_t depth) const {
    return num_rows * PackedRowBytes(kernels_, depth);
  }

  // Packs a range of packed's tiles from x[rows[r]] (rows null: x[r]), r counted from row 0.
  void Pack(const float* x, int64_t stride, const int32_t* rows, const PackedRows& packed,
            Range tiles) const;

  // Whether rows that are packed again and again are best packed once and then gathered.
  bool gathers() const { return kernels_.gather != nullptr; }
  // Packs a range of packed's tiles from rows packed as tiles of one row: rows[r], r counted from
  // 0.
  void Gather(const std::byte* single_rows, const int32_t* rows, const PackedRows& packed,
              Range tiles) const;

  // sink[r] = a[r] x matrix + bias over a range of panels.
  void Store(const PackedRows& a, const PanelMatrix& matrix, Range range, RowSink sink,
             PanelScratch& scratch) const;

  // activated[r][column] = activation(gate, up): a gate-up matrix over a range of panels, written
  // as packed rows with the same tiles as `a` and depth I. The range begins at a multiple of
  // gate_panels() and ends at one, or at the last panel.
  void Gate(const PackedRows& a, const PanelMatrix& gate_up, Range range, const GatedMlpSpec& spec,
            const PackedRows& activated, PanelScratch& scratch) const;

 private:
  Gemm(const KernelTable& table, ComputeType type, WeightFormat format)
      : table_(table), type_(type), kernels_(table.gemm(type, format)) {}
  const GemmKernels& KernelsOf(int64_t num_rows) const {
    return num_rows < kernels_.few_rows ? *kernels_.few : kernels_;
  }
  // scratch.accumulators() = a x panel.
  void Multiply(const PackedRows& a, const PanelMatrix& matrix, int64_t panel,
                PanelScratch& scratch) const;
  struct SliceReading {
    ExpandFunction expand;  // null: as they lie
    const std::array<TileKernel, kMaxTileRows + 1>* tile_kernels;
  };
  SliceReading ReadingOf(WeightFormat format, const PackedRows& a) const;
  void MultiplySlice(const PackedRows& a, const PanelMatrix& matrix, const std::byte* slice,
                     int64_t k, int64_t depth, PanelScratch& scratch) const;
  // Packs staged gate outputs of columns [first, end).
  void PackStaged(const PackedRows& activated, int64_t first, int64_t end,
                  PanelScratch& scratch) const;

  const KernelTable& table_;
  ComputeType type_;
  const GemmKernels& kernels_;
};

}  // namespace expertile::cpu
