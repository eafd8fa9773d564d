// The inner loops of the CPU target, one table of function pointers per instruction set.
// Not a matrix library: blocking and threads are in targets/cpu/gemm.h and above.
//
// Vocabulary. A *panel* is panel_columns (NR) columns of a weight matrix, stored k by k. A *tile*
// is up to max_tile_rows (MR) rows of activations, packed in blocks of block_depth k-values, row
// after row: [ceil(depth/block_depth)][rows][block_depth]. A tile kernel adds tile x panel to a
// [rows][NR] accumulator; every element accumulates over k in increasing order, one product at a
// time, whatever the number of rows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "model/decoder_spec.h"
#include "targets/cpu/isa.h"

namespace expertile::cpu {

enum class ComputeType {
  kFloat32,   // activations as they are
  kBFloat16,  // activations rounded to bfloat16 on entering a product; float32 accumulation
  kExact,     // activations as they are, summed in whichever order is quickest on this set
};

enum class WeightFormat {
  kFloat32,   // panels [in][NR] float
  kBFloat16,  // panels [in/2][NR][2] bfloat16: pairs of k-values side by side
  kMxfp6,     // panels [ceil(in/32)] of NR E8M0 scales, [16][NR] low and [8][NR] high bits of E2M3
              // codes
  kMxfp4,  // panels [in/32] of NR E8M0 scales and [16][NR] pairs of E2M1 codes; in a multiple of 32
  kMxint8,  // panels [ceil(in/32)] of NR E8M0 scales and [8][NR][4] codes + 128; its activations
            // are in MXINT8, too, whatever the compute type
};

// Bytes a column of a kMxfp6 block: a low nibble of each element, two high bits of each, a scale.
inline constexpr int kMxfp6LowBytes = 16;
inline constexpr int kMxfp6HighBytes = 8;
inline constexpr int kMxfp6BlockBytes = 1 + kMxfp6LowBytes + kMxfp6HighBytes;

// Bytes a column of a kMxint8 block: a code of each element, a scale.
inline constexpr int kMxint8BlockBytes = 1 + 32;

inline constexpr int kMaxTileRows = 32;        // upper bound of max_tile_rows over all tables
inline constexpr int kMaxPanelColumns = 32;    // upper bound of panel_columns over all tables
inline constexpr int64_t kDepthMultiple = 32;  // packed rows are padded to this with zeros

// Cache lines to fetch ahead while a tile kernel runs: spread evenly over its k-blocks.
struct Prefetch {
  const std::byte* address = nullptr;
  int lines_per_block = 0;  // lines for each block of block_depth k-values
};

// c[rows][NR] (+)= a x b over `depth` k-values (even); `first` starts from zero instead of from c.
using TileKernel = void (*)(const std::byte* a, const std::byte* b, int64_t depth, float* c,
                            bool first, Prefetch prefetch);
// A part of a panel that lies apart from the rest. All but the last have a multiple of 32 k-values.
struct PanelRun {
  const std::byte* panel;
  int64_t depth;  // k-values
};
using PanelRuns = std::span<const PanelRun>;
// A tile kernel, from zero, over a panel in runs.
using RunsKernel = void (*)(const std::byte* a, PanelRuns runs, float* c, Prefetch prefetch);
// Expands `depth` k-values of a panel to one that tile kernels read. Fetches ahead as they do, by
// blocks of 32 k-values.
using ExpandFunction = void (*)(const std::byte* panel, int64_t depth, std::byte* out,
                                Prefetch prefetch);
// Packs x[rows[r]][0, depth) (r in [0, num_rows)) into a tile; rows is null for consecutive rows.
using PackTileFunction = void (*)(const float* x, int64_t stride, const int32_t* rows, int num_rows,
                                  int64_t depth, std::byte* tile);
// Makes a tile of rows packed as tiles of one row, row_bytes apart: rows[r] (r in [0, num_rows)).
using GatherTileFunction = void (*)(const std::byte* packed, int64_t row_bytes, const int32_t* rows,
                                    int num_rows, int64_t depth, std::byte* tile);
// Applies the gated activation to c[num_rows][NR] = NR/2 gates, then NR/2 ups, after adding
// bias[NR] (null = none), and writes NR/2 columns of a packed tile, beginning at `column`.
using GateFunction = void (*)(const float* c, int num_rows, const float* bias,
                              const GatedMlpSpec& spec, int64_t column, std::byte* tile);

// Columns [begin, end) of some key panels, side by side, that a row sees; empty if begin >= end.
struct KeyRange {
  int begin;
  int end;
};

// A row's softmax over some keys: the largest scaled score, and the sum of exp(score - largest);
// {-infinity, 0} over none.
struct SoftmaxState {
  float largest;
  float sum;
};

// Turns the scores [num_panels][num_rows][NR] of some key panels into exp(score * scale - largest),
// zero outside of `valid`, packed as a tile of depth num_panels * NR, and tells each row's state.
using SoftmaxFunction = void (*)(const float* scores, int num_rows, int num_panels,
                                 const KeyRange* valid, float scale, SoftmaxState* states,
                                 std::byte* tile);

// The same as work that is done row by row.
struct SoftmaxWork {
  const float* scores;
  int num_rows;  // 0: nothing to do
  int num_panels;
  const KeyRange* valid;
  float scale;
  SoftmaxState* states;
  std::byte* tile;
  int next_row = 0;
};
// A tile kernel, from zero, that does some rows of another tile's softmax beside its products.
using ScoresKernel = void (*)(const std::byte* a, const std::byte* b, int64_t depth, float* c,
                              Prefetch prefetch, SoftmaxWork& work);

// The kernels of one compute type, or of kMxint8.
struct GemmKernels {
  // If not null: what products of fewer than few_rows rows are for. The same bits, of packed rows
  // that take no more bytes, and as many staged columns.
  const GemmKernels* few = nullptr;
  int few_rows = 0;
  int activation_size = 0;  // bytes of a packed activation
  int header_bytes = 0;     // of what is before each row's activations in a block of a packed tile
  int block_depth = 0;      // k-values in a block of a packed tile
  int max_tile_rows = 0;    // MR, a multiple of tile_unit
  int tile_unit = 1;        // rows that cost as much as a part of them
  // K-values of a panel that all row tiles pass before the next: as many as stay in the cache that
  // the kernels like to read a panel from, with the tile that passes by. A multiple of 32.
  int64_t slice_depth = 0;
  // Not 0: bytes of packed rows that share one reading of a panel at most, beside it in the
  // second-level cache.
  int64_t block_bytes = 0;
  // Reading an expert's weights from memory takes as long as the arithmetic of so many rows, as far
  // as the two do not overlap.
  int weights_rows = 0;
  PackTileFunction pack = nullptr;
  GatherTileFunction gather = nullptr;  // null: packing a row again takes no longer
  GateFunction gate = nullptr;
  // Not 0: `gate` writes no tile, but rows [num_rows][staged_columns] of floats, of which `pack`
  // makes a block of one.
  int staged_columns = 0;
  SoftmaxFunction softmax = nullptr;
  void (*finish_softmax)(SoftmaxWork& work) = nullptr;  // what bfloat16_scores left; null as those
  std::array<TileKernel, kMaxTileRows + 1> float32 = {};   // by rows; weights kFloat32
  std::array<TileKernel, kMaxTileRows + 1> bfloat16 = {};  // by rows; weights kBFloat16
  // By rows; the same bits as `bfloat16`, run after run. Null where that takes no longer.
  std::array<RunsKernel, kMaxTileRows + 1> bfloat16_runs = {};
  // By rows; the same bits as `bfloat16`. Null where products leave nothing to do beside them.
  std::array<ScoresKernel, kMaxTileRows + 1> bfloat16_scores = {};
  // By rows; weights kMxint8, or what expand_mxint8 makes of a panel, which stays where it is.
  std::array<TileKernel, kMaxTileRows + 1> mxint8 = {};
  ExpandFunction expand_mxint8 = nullptr;
  bool expand_pays = false;  // for several tiles, expand a bfloat16 panel to float32 once
  // Of an MXFP4 panel (depth a multiple of 32), exactly, to the kind of panel that `bfloat16` reads
  // if there are no float32 kernels, else to a float32 panel.
  ExpandFunction expand_mxfp4 = nullptr;
  ExpandFunction expand_mxfp6 = nullptr;  // likewise
  // Likewise of `depth` (even) k-values of MXINT8 codes [depth][NR]: keys with scales
  // [ceil(depth/32)][NR], values with a scale for each k-value, [depth].
  void (*expand_mxint8_keys)(const std::byte* codes, const std::byte* scales, int64_t depth,
                             std::byte* out) = nullptr;
  void (*expand_mxint8_values)(const std::byte* codes, const std::byte* scales, int64_t depth,
                               std::byte* out) = nullptr;
  // Around tile kernels, if not null, on the thread that runs them: take the processor's tile
  // registers, which other code may use between, and give them back.
  void (*begin)() = nullptr;
  void (*end)() = nullptr;
};

// While it lives, its thread may run tile kernels of `kernels`.
class TileScope {
 public:
  explicit TileScope(const GemmKernels& kernels) : end_(kernels.end) {
    if (kernels.begin != nullptr) kernels.begin();
  }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
  ~TileScope() {
    if (end_ != nullptr) end_();
  }

 private:
  void (*end_)();
};

// Work on one row of `size` values, element by element or with float64 sums.
struct RowKernels {
  // y = x / sqrt(mean of x^2 + epsilon) * weight.
  void (*rms_norm)(const float* x, const float* weight, int64_t size, float epsilon, float* y);
  // y = (x - mean) / sqrt(variance + epsilon) * weight + bias.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t size,
                     float epsilon, float* y);
  // Turns the pairs (head[j], head[half + j]), j < half, by angles of which cos and sin are given.
  void (*rotate)(float* head, const float* cos, const float* sin, int64_t half);
  void (*gelu_tanh)(float* x, int64_t size);  // in place
};

struct KernelTable {
  Isa isa;
  std::string_view name;  // NameOf(isa), from the kernels' own translation unit
  int panel_columns;      // NR
  GemmKernels float32;
  GemmKernels bfloat16;
  GemmKernels mxint8;
  // Of float32 activations and kBFloat16 weights, for kExact; without kernels: float32 is for it.
  GemmKernels exact;
  // Expands `depth` (even) k-values of a bfloat16 panel to a float32 panel, exactly.
  ExpandFunction expand_panel;
  // out[h] = sum over k, in order, of weights[k] * y[k][h]; y is [num_rows][size].
  void (*combine)(const float* y, const float* weights, int num_rows, int64_t size, float* out);
  // Copies c[num_rows][NR] + bias to out[r * stride ...][0, num_columns); rows as in PackTile.
  void (*store_rows)(const float* c, int num_rows, const float* bias, int num_columns,
                     const int32_t* rows, int64_t stride, float* out);
  // Adds weighted sums over some keys, part[num_panels][num_rows][NR] with their states, to those
  // over the keys before them. A row whose part has a sum of 0 stays as it is.
  void (*merge_softmax)(const float* part, const SoftmaxState* part_states, int num_rows,
                        int num_panels, float* sums, SoftmaxState* states);
  // out[rows[r] * size ...][0, size) = row r of sums[ceil(size/NR)][num_rows][NR] / states[r].sum
  void (*store_softmax)(const float* sums, const SoftmaxState* states, int num_rows, int64_t size,
                        const int32_t* rows, float* out);
  // Register-resident multiply-adds (targets/cpu/roof.h): each returns the number of operations
  // done (2 per multiply-add) and is null where the instruction set has no such instruction.
  int64_t (*peak_float32)(int64_t repeats);
  int64_t (*peak_bfloat16)(int64_t repeats);
  int64_t (*peak_int8)(int64_t repeats);
  // Reads num_bytes (a multiple of 512) once and returns their sum as floats.
  float (*read_bytes)(const std::byte* bytes, size_t num_bytes);
  RowKernels rows;

  // Of products with weights in kBFloat16, which take the most memory.
  const GemmKernels& gemm(ComputeType type) const {
    if (type == ComputeType::kExact && exact.pack != nullptr) return exact;
    return type == ComputeType::kBFloat16 ? bfloat16 : float32;
  }
  // Of products with weights in `format`.
  const GemmKernels& gemm(ComputeType type, WeightFormat format) const {
    if (format == WeightFormat::kMxint8) return mxint8;
    if (type == ComputeType::kExact && format != WeightFormat::kBFloat16) return float32;
    return gemm(type);
  }
};

// The table of `isa`; call its kernels only where SupportedIsas() has it.
const KernelTable& KernelsFor(Isa isa);

const KernelTable& KernelsAvx2();
const KernelTable& KernelsAvx512();             // with VNNI where this machine has it
const KernelTable& KernelsAvx512WithoutVnni();  // the same bits
const KernelTable& KernelsAvx512Bf16();
const KernelTable& KernelsAmx();

}  // namespace expertile::cpu
