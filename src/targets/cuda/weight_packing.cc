#include "targets/cuda/weight_packing.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace expertile::cuda {
namespace {

constexpr const char* kRounded = "bfloat16";
constexpr const char* kTwoTerms = "bfloat16x2";  // a bfloat16 and what rounding to it took
constexpr const char* kMxfp4 = "mxfp4";

// Elements [first, first + count) of a row, rounded; zeros past its end.
void ReadRounded(const MatrixView& matrix, int64_t row, int64_t first, int64_t count,
                 uint16_t* values) {
  const int64_t there = std::clamp<int64_t>(matrix.cols - first, 0, count);
  std::fill(values + there, values + count, uint16_t{0});
  if (matrix.dtype == DType::kBF16 && matrix.col_stride == 1) {
    std::memcpy(values, matrix.data + (row * matrix.row_stride + first) * 2, there * 2);
    return;
  }
  std::vector<float> floats(matrix.cols);
  matrix.ReadRow(row, floats);
  for (int64_t i = 0; i < there; ++i) values[i] = FloatToBFloat16(floats[first + i]);
}

// Writes tiles' parts of one column: `values` are those of whole tiles from `first_tile` on, which
// is where `piece` begins.
void WriteColumn(const TileLayout& layout, int64_t column, std::span<const uint16_t> values,
                 std::byte* piece) {
  const auto num_tiles = static_cast<int64_t>(values.size()) / kTileDepth;
  for (int64_t tile = 0; tile < num_tiles; ++tile) {
    for (int64_t chunk = 0; chunk < 8; ++chunk) {
      std::memcpy(piece + layout.ChunkOffset(column, tile, chunk),
                  values.data() + tile * kTileDepth + chunk * 8, 16);
    }
  }
}

// SpreadMxfp4Codes of every two codes at every place.
constexpr auto kSpreadCodes = [] {
  std::array<std::array<uint32_t, 256>, 4> spread{};
  for (uint32_t pair = 0; pair < 4; ++pair) {
    for (uint32_t codes = 0; codes < 256; ++codes) {
      spread[pair][codes] = SpreadMxfp4Codes(codes, static_cast<int>(pair));
    }
  }
  return spread;
}();

// A row of 4-bit codes and scales into the words of one column, among other columns' codes.
void WriteMxfp4Column(const TileLayout& layout, const MatrixView& matrix, int64_t row,
                      int64_t column, std::byte* words, std::byte* scales) {
  std::vector<std::byte> row_codes(matrix.cols / 2);
  std::vector<std::byte> row_scales(matrix.cols / 32);
  matrix.CopyMxfp4Row(row, row_codes.data(), row_scales.data());
  for (int64_t depth = 0; depth < matrix.cols; depth += 2) {
    std::byte* place = words + layout.WordOffset(column, depth);
    uint32_t word = 0;
    std::memcpy(&word, place, 4);
    word |= kSpreadCodes[Mxfp4Pair(column, depth)][static_cast<uint8_t>(row_codes[depth / 2])];
    std::memcpy(place, &word, 4);
  }
  for (int64_t depth = 0; depth < matrix.cols; depth += 32) {
    scales[layout.ScaleOffset(column, depth)] = row_scales[depth / 32];
  }
}

TileLayout LayoutOf(const MatrixView& matrix) {
  return {RoundUp(matrix.rows, kColumnsPerAtom), matrix.cols};
}
TileLayout GateUpLayout(int64_t H, int64_t I) { return {GateUpColumns(I), H}; }
TileLayout DownLayout(int64_t H, int64_t I) { return {RoundUp(H, kColumnsPerAtom), I}; }

// The matrices of an MLP's first or second product, and where their rows go.
struct Placed {
  const LinearView* view;
  int64_t (*column)(int64_t row);
};
int64_t SameColumn(int64_t row) { return row; }

std::vector<Placed> PlacedOf(const MlpView& mlp, bool is_down) {
  if (is_down) return {{&mlp.down, SameColumn}};
  return {{&mlp.gate, GateColumn}, {&mlp.up, UpColumn}};
}

TileLayout LayoutOf(const MlpView& mlp, bool is_down) {
  const MatrixView& gate = mlp.gate.weight;
  return is_down ? DownLayout(gate.cols, gate.rows) : GateUpLayout(gate.cols, gate.rows);
}

}  // namespace

std::string PartName(const std::string& name, bool is_down) {
  return name + (is_down ? ".down" : ".gate_up");
}

Status TilePacker::Pack(const std::string& name, const WeightView& view, WeightRole role) {
  switch (role) {
    case WeightRole::kVector:
      return WriteFloats(writer_, name, FloatsOf(view.linear.weight));
    case WeightRole::kEmbedding:
      return WriteTable(writer_, name, view.linear.weight);
    case WeightRole::kRouter:
      return PackExactMatrix(name, view.linear);
    case WeightRole::kMlp:
    case WeightRole::kExperts:
      return PackMlps(name, view.mlps);
    case WeightRole::kVisionMatrix:
      return Unsupported("{}: the target cuda has no vision part", name);
    default:
      return PackMatrix(name, view.linear);
  }
}

// Pieces are whole tiles of the depth, all columns of each.
Status TilePacker::PackMatrix(const std::string& name, const LinearView& view) {
  const MatrixView& matrix = view.weight;
  const TileLayout layout = LayoutOf(matrix);
  EXPERTILE_RETURN_IF_ERROR(
      writer_.Begin({name, kRounded, matrix.rows * matrix.cols, layout.bytes()}));
  const int64_t tile_bytes = layout.columns * kTileDepth * 2;
  const int64_t tiles_per_piece = std::max<int64_t>(1, kMaxPieceBytes / tile_bytes);
  for (int64_t first = 0; first < layout.depth_tiles(); first += tiles_per_piece) {
    const int64_t count = std::min(tiles_per_piece, layout.depth_tiles() - first);
    EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(count * tile_bytes));
    pool_.ForEach(matrix.rows, [&](int64_t row, int) {
      std::vector<uint16_t> values(count * kTileDepth);
      ReadRounded(matrix, row, first * kTileDepth, count * kTileDepth, values.data());
      WriteColumn(layout, row, values, piece.data());
    });
  }
  if (!view.bias) return {};
  std::vector<float> bias = FloatsOf(view.bias);
  bias.resize(layout.columns, 0.0f);
  return WriteFloats(writer_, name + ".bias", bias);
}

// The depth once for rounded rows and once for what rounding took; a third time, for the rest of
// weights that are no bfloat16, with rounded rows.
Status TilePacker::PackExactMatrix(const std::string& name, const LinearView& view) {
  const MatrixView& matrix = view.weight;
  const bool is_exact = matrix.dtype == DType::kBF16;
  const int64_t depth = RoundUp(matrix.cols, kTileDepth);
  const TileLayout layout{RoundUp(matrix.rows, kColumnsPerAtom), (is_exact ? 2 : 3) * depth};
  EXPERTILE_RETURN_IF_ERROR(writer_.Begin(
      {name, is_exact ? kRounded : kTwoTerms, matrix.rows * matrix.cols, layout.bytes()}));
  EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(layout.bytes()));
  for (int64_t row = 0; row < matrix.rows; ++row) {
    std::vector<float> floats(matrix.cols);
    matrix.ReadRow(row, floats);
    std::vector<uint16_t> values(layout.depth, 0);
    for (int64_t i = 0; i < matrix.cols; ++i) {
      const uint16_t rounded = FloatToBFloat16(floats[i]);
      values[i] = values[depth + i] = rounded;
      if (!is_exact) values[2 * depth + i] = FloatToBFloat16(floats[i] - BFloat16ToFloat(rounded));
    }
    WriteColumn(layout, row, values, piece.data());
  }
  if (!view.bias) return {};
  std::vector<float> bias = FloatsOf(view.bias);
  bias.resize(layout.columns, 0.0f);
  return WriteFloats(writer_, name + ".bias", bias);
}

Status TilePacker::PackMlps(const std::string& name, std::span<const MlpView> mlps) {
  const bool is_mxfp4 = mlps[0].gate.weight.is_mxfp4();
  for (const bool is_down : {false, true}) {
    EXPERTILE_RETURN_IF_ERROR(is_mxfp4 ? PackMxfp4Mlps(name, mlps, is_down)
                                       : PackRoundedMlps(name, mlps, is_down));
  }
  return PackBiases(name, mlps);
}

Status TilePacker::PackRoundedMlps(const std::string& name, std::span<const MlpView> mlps,
                                   bool is_down) {
  const TileLayout layout = LayoutOf(mlps[0], is_down);
  const auto count = static_cast<int64_t>(mlps.size());
  EXPERTILE_RETURN_IF_ERROR(
      writer_.Begin({PartName(name, is_down), kRounded, count * layout.columns * layout.depth,
                     count * layout.bytes()}));
  const int64_t batch_size = std::max<int64_t>(1, kMaxPieceBytes / layout.bytes());
  for (int64_t begin = 0; begin < count; begin += batch_size) {
    const int64_t size = std::min(batch_size, count - begin);
    EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(size * layout.bytes()));
    pool_.ForEach(size, [&](int64_t i, int) {
      std::vector<uint16_t> values(layout.depth_tiles() * kTileDepth);
      for (const Placed& placed : PlacedOf(mlps[begin + i], is_down)) {
        const MatrixView& matrix = placed.view->weight;
        for (int64_t row = 0; row < matrix.rows; ++row) {
          ReadRounded(matrix, row, 0, static_cast<int64_t>(values.size()), values.data());
          WriteColumn(layout, placed.column(row), values, piece.data() + i * layout.bytes());
        }
      }
    });
  }
  return {};
}

// Codes and scales are two blocks; the scales, a sixteenth, are kept until the codes are written.
Status TilePacker::PackMxfp4Mlps(const std::string& name, std::span<const MlpView> mlps,
                                 bool is_down) {
  const TileLayout layout = LayoutOf(mlps[0], is_down);
  const auto count = static_cast<int64_t>(mlps.size());
  const std::string part = PartName(name, is_down);
  EXPERTILE_RETURN_IF_ERROR(writer_.Begin(
      {part, kMxfp4, count * layout.columns * layout.depth, count * layout.code_bytes()}));
  std::vector<std::byte> scales(count * layout.scale_bytes());
  const int64_t batch_size = std::max<int64_t>(1, kMaxPieceBytes / layout.code_bytes());
  for (int64_t begin = 0; begin < count; begin += batch_size) {
    const int64_t size = std::min(batch_size, count - begin);
    EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(size * layout.code_bytes()));
    pool_.ForEach(size, [&](int64_t i, int) {
      for (const Placed& placed : PlacedOf(mlps[begin + i], is_down)) {
        for (int64_t row = 0; row < placed.view->weight.rows; ++row) {
          WriteMxfp4Column(layout, placed.view->weight, row, placed.column(row),
                           piece.data() + i * layout.code_bytes(),
                           scales.data() + (begin + i) * layout.scale_bytes());
        }
      }
    });
  }
  const auto num_bytes = static_cast<int64_t>(scales.size());
  EXPERTILE_RETURN_IF_ERROR(writer_.Begin({part + ".scales", kMxfp4ScaleFormat, 0, num_bytes}));
  EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(num_bytes));
  std::memcpy(piece.data(), scales.data(), scales.size());
  return {};
}

Status TilePacker::PackBiases(const std::string& name, std::span<const MlpView> mlps) {
  if (!mlps[0].gate.bias) return {};
  for (const bool is_down : {false, true}) {
    const int64_t columns = LayoutOf(mlps[0], is_down).columns;
    std::vector<float> biases(mlps.size() * columns, 0.0f);
    for (size_t e = 0; e < mlps.size(); ++e) {
      for (const Placed& placed : PlacedOf(mlps[e], is_down)) {
        const std::vector<float> bias = FloatsOf(placed.view->bias);
        for (size_t row = 0; row < bias.size(); ++row) {
          biases[e * columns + placed.column(static_cast<int64_t>(row))] = bias[row];
        }
      }
    }
    EXPERTILE_RETURN_IF_ERROR(WriteFloats(writer_, PartName(name, is_down) + ".bias", biases));
  }
  return {};
}

int64_t PackedBytes(const DecoderSpec& spec, bool has_mxfp4_experts) {
  int64_t num_bytes = 0;
  struct Visitor {
    bool has_mxfp4_experts;
    int64_t& num_bytes;
    Status BeginGroup(const std::string&) { return {}; }
    Status operator()(const Weight& weight) {
      const bool is_mxfp4 = weight.role == WeightRole::kExperts && has_mxfp4_experts;
      num_bytes += is_mxfp4 ? weight.NumElements() * 17 / 32 : weight.NumElements() * 2;
      return {};
    }
  };
  static_cast<void>(VisitWeights(spec, Visitor{has_mxfp4_experts, num_bytes}));
  return num_bytes;
}

Status TileOpener::Open(const Weight& weight, DeviceVector& slot) {
  EXPERTILE_ASSIGN(const std::byte* data,
                   weights_.Find(weight.name, "float32", weight.cols * int64_t{sizeof(float)}));
  slot = {reinterpret_cast<const float*>(data), weight.cols};
  return {};
}

Status TileOpener::Open(const Weight& weight, DeviceTable& slot) {
  EXPERTILE_ASSIGN(const std::string format, weights_.FormatOf(weight.name));
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    if (LongNameOf(dtype) != format) continue;
    EXPERTILE_ASSIGN(const std::byte* data,
                     weights_.Find(weight.name, format, weight.rows * weight.cols * SizeOf(dtype)));
    slot = {data, dtype, weight.rows, weight.cols};
    return {};
  }
  return InvalidData("{}: format {}, expected float32, bfloat16 or float16", weight.name,
                     OneLine(format));
}

Status TileOpener::OpenBias(const std::string& name, int64_t count, const float*& slot) {
  EXPERTILE_ASSIGN(const std::byte* data,
                   weights_.Find(name, "float32", count * int64_t{sizeof(float)}));
  slot = reinterpret_cast<const float*>(data);
  return {};
}

Status TileOpener::Open(const Weight& weight, DeviceLinear& slot) {
  EXPERTILE_ASSIGN(const std::string format, weights_.FormatOf(weight.name));
  slot = {{}, weight.rows, weight.cols, 1};
  int64_t depth = weight.cols;
  if (weight.role == WeightRole::kRouter) {
    slot.parts = format == kTwoTerms ? 3 : 2;
    depth = slot.parts * RoundUp(weight.cols, kTileDepth);
  }
  const TileLayout layout{RoundUp(weight.rows, kColumnsPerAtom), depth};
  const std::string expected = slot.parts == 3 ? kTwoTerms : kRounded;
  EXPERTILE_ASSIGN(slot.tiles.data, weights_.Find(weight.name, expected, layout.bytes()));
  slot.tiles.columns = layout.columns;
  if (!weight.has_bias) return {};
  return OpenBias(weight.name + ".bias", layout.columns, slot.tiles.bias);
}

Status TileOpener::OpenTiles(const std::string& name, const TileLayout& layout, int64_t count,
                             bool has_bias, TiledWeights& slot) {
  EXPERTILE_ASSIGN(const std::string format, weights_.FormatOf(name));
  slot.columns = layout.columns;
  if (format == kMxfp4) {
    slot.bytes_per_expert = layout.code_bytes();
    slot.scales_per_expert = layout.scale_bytes();
    EXPERTILE_ASSIGN(const std::byte* scales, weights_.Find(name + ".scales", kMxfp4ScaleFormat,
                                                            count * slot.scales_per_expert));
    slot.scales = reinterpret_cast<const uint8_t*>(scales);
  } else {
    slot.bytes_per_expert = layout.bytes();
  }
  EXPERTILE_ASSIGN(slot.data, weights_.Find(name, format == kMxfp4 ? kMxfp4 : kRounded,
                                            count * slot.bytes_per_expert));
  return has_bias ? OpenBias(name + ".bias", count * layout.columns, slot.bias) : Status();
}

Status TileOpener::Open(const Weight& weight, DeviceMlp& slot) {
  const int64_t I = weight.rows;
  const int64_t H = weight.cols;
  slot.hidden_size = H;
  slot.intermediate_size = I;
  slot.count = static_cast<int>(weight.count);
  EXPERTILE_RETURN_IF_ERROR(OpenTiles(PartName(weight.name, false), GateUpLayout(H, I),
                                      weight.count, weight.has_bias, slot.gate_up));
  return OpenTiles(PartName(weight.name, true), DownLayout(H, I), weight.count, weight.has_bias,
                   slot.down);
}

Status TileOpener::Open(const Weight& weight, DeviceExperts& slot) {
  return Open(weight, static_cast<DeviceMlp&>(slot));
}

}  // namespace expertile::cuda
