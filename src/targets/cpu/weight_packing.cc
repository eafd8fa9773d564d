#include "targets/cpu/weight_packing.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "dispatch/work_list.h"

namespace expertile::cpu {
namespace {

struct FormatName {
  WeightFormat format;
  std::string_view name;
};
constexpr std::array kFormatNames = {
    FormatName{WeightFormat::kFloat32, "float32"}, FormatName{WeightFormat::kBFloat16, "bfloat16"},
    FormatName{WeightFormat::kMxfp6, "mxfp6"}, FormatName{WeightFormat::kMxfp4, "mxfp4"},
    FormatName{WeightFormat::kMxint8, "mxint8"}};

std::string NameOf(WeightFormat format) {
  return std::string(std::ranges::find(kFormatNames, format, &FormatName::format)->name);
}

Result<WeightFormat> FormatNamed(std::string_view block, std::string_view name) {
  const auto found = std::ranges::find(kFormatNames, name, &FormatName::name);
  if (found != kFormatNames.end()) return found->format;
  return InvalidData("{}: format {}, which this build does not know", block, OneLine(name));
}

// The format that loses nothing.
WeightFormat LosslessFormatOf(const MatrixView& view) {
  if (view.is_mxfp4()) return WeightFormat::kMxfp4;
  return view.dtype == DType::kBF16 ? WeightFormat::kBFloat16 : WeightFormat::kFloat32;
}

auto FloatRows(const MatrixView& matrix) {
  return [&matrix](int64_t row, float* values) {
    matrix.ReadRow(row, {values, static_cast<size_t>(matrix.cols)});
  };
}

auto Mxfp4Rows(const MatrixView& matrix) {
  return [&matrix](int64_t row, Mxfp4Row target) {
    matrix.CopyMxfp4Row(row, target.codes, target.scales);
  };
}

void PackMlp(int index, const MlpView& view, PackedExperts& target) {
  if (view.gate.weight.is_mxfp4()) {
    const auto gate = Mxfp4Rows(view.gate.weight);
    const auto up = Mxfp4Rows(view.up.weight);
    const auto down = Mxfp4Rows(view.down.weight);
    return target.PackMxfp4(index, {gate, up, down});
  }
  const auto gate = FloatRows(view.gate.weight);
  const auto up = FloatRows(view.up.weight);
  const auto down = FloatRows(view.down.weight);
  target.Pack(index, {gate, up, down});
}

}  // namespace

// MXFP4 stays as it is, whatever is asked; a router's product is not rounded; MXFP6 and
// MXINT8 are for the matrices of attention and of MLPs.
WeightFormat WeightPacker::FormatOf(const MatrixView& view, WeightRole role) const {
  using enum WeightRole;
  if (view.is_mxfp4() || role == kRouter) return LosslessFormatOf(view);
  const bool has_mx = role == kMatrix || role == kMlp || role == kExperts;
  if (has_mx && options_.mxfp6_matmul) return WeightFormat::kMxfp6;
  if (has_mx && options_.arithmetic == MatmulArithmetic::kMxint8) return WeightFormat::kMxint8;
  return options_.is_rounded() ? WeightFormat::kBFloat16 : LosslessFormatOf(view);
}

Status WeightPacker::Pack(const std::string& name, const WeightView& view, WeightRole role) {
  const MatrixView& matrix = view.linear.weight;
  switch (role) {
    case WeightRole::kVector:
      return WriteFloats(writer_, name, FloatsOf(matrix));
    case WeightRole::kEmbedding:
      return WriteTable(writer_, name, matrix);
    case WeightRole::kMlp:
    case WeightRole::kExperts:
      return PackMlps(name, view.mlps, FormatOf(view.mlps[0].gate.weight, role));
    default:
      return PackMatrix(name, view.linear, FormatOf(matrix, role));
  }
}

Status WeightPacker::PackMatrix(const std::string& name, const LinearView& view,
                                WeightFormat format) {
  const MatrixView& weight = view.weight;
  EXPERTILE_ASSIGN(const PanelMatrix shape,
                   PackedMatrix::ShapeOf(table_, format, weight.rows, weight.cols));
  const int64_t panel_bytes = shape.panel_bytes();
  EXPERTILE_RETURN_IF_ERROR(writer_.Begin(
      {name, NameOf(format), weight.rows * weight.cols, shape.num_panels() * panel_bytes}));
  const int64_t panels_per_piece = std::max<int64_t>(1, kMaxPieceBytes / panel_bytes);
  const auto rows = FloatRows(weight);
  for (int64_t first = 0; first < shape.num_panels(); first += panels_per_piece) {
    const int64_t count = std::min(panels_per_piece, shape.num_panels() - first);
    EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(count * panel_bytes));
    pool_.ForEachOwned(
        count, [&](int64_t panel) { return static_cast<int>(panel * pool_.size() / count); },
        [&](int64_t panel) {
          PackPanels(shape, first + panel, 1, rows, piece.data() + panel * panel_bytes);
        });
  }
  if (view.bias) {
    std::vector<float> bias = FloatsOf(view.bias);
    bias.resize(shape.num_panels() * shape.panel_columns, 0.0f);
    return WriteFloats(writer_, name + ".bias", bias);
  }
  return {};
}

Status WeightPacker::PackMlps(const std::string& name, std::span<const MlpView> mlps,
                              WeightFormat format) {
  const LinearView& gate = mlps[0].gate;
  const auto num_experts = static_cast<int>(mlps.size());
  ExpertsShape shape{num_experts, gate.weight.cols, gate.weight.rows, format,
                     gate.bias.has_value()};
  EXPERTILE_ASSIGN(const PackedExperts all, PackedExperts::WithoutMemory(table_, shape));
  const int64_t num_elements = 3 * shape.hidden_size * shape.intermediate_size * num_experts;
  EXPERTILE_RETURN_IF_ERROR(
      writer_.Begin({name, NameOf(shape.format), num_elements, all.num_bytes()}));
  const auto batch_size =
      static_cast<int>(std::max<int64_t>(1, kMaxPieceBytes / all.bytes_per_expert()));
  for (int begin = 0; begin < num_experts; begin += batch_size) {
    shape.num_experts = std::min(batch_size, num_experts - begin);
    EXPERTILE_ASSIGN(PackedExperts batch, PackedExperts::WithoutMemory(table_, shape));
    EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(batch.num_bytes()));
    batch.Use(piece.data());
    pool_.ForEachOwned(
        shape.num_experts,
        [&](int64_t e) {
          return OwnWorker(static_cast<int>(begin + e), options_.blocking.num_nsp, pool_.size());
        },
        [&](int64_t e) { PackMlp(static_cast<int>(e), mlps[begin + e], batch); });
  }
  if (shape.has_bias) {
    std::vector<float> bias(all.bias_size(), 0.0f);
    for (int e = 0; e < num_experts; ++e) {
      const std::vector<float> gate_bias = FloatsOf(mlps[e].gate.bias);
      const std::vector<float> up_bias = FloatsOf(mlps[e].up.bias);
      const std::vector<float> down_bias = FloatsOf(mlps[e].down.bias);
      all.WriteBias(e, {gate_bias, up_bias, down_bias}, bias.data());
    }
    return WriteFloats(writer_, name + ".bias", bias);
  }
  return {};
}

Status WeightOpener::Open(const Weight& weight, std::vector<float>& slot) const {
  EXPERTILE_ASSIGN(const std::span<const float> values,
                   ReadFloats(reader_, weight.name, weight.cols));
  slot.assign(values.begin(), values.end());
  return {};
}

Status WeightOpener::Open(const Weight& weight, MatrixView& slot) const {
  EXPERTILE_ASSIGN(slot, ReadTable(reader_, weight.name, weight.rows, weight.cols));
  return {};
}

Status WeightOpener::Open(const Weight& weight, PackedMatrix& slot) const {
  EXPERTILE_ASSIGN(const std::string format_name, reader_.FormatOf(weight.name));
  EXPERTILE_ASSIGN(const WeightFormat format, FormatNamed(weight.name, format_name));
  EXPERTILE_ASSIGN(PanelMatrix matrix,
                   PackedMatrix::ShapeOf(table_, format, weight.rows, weight.cols));
  EXPERTILE_ASSIGN(
      const std::span<const std::byte> panels,
      reader_.Find(weight.name, format_name, matrix.num_panels() * matrix.panel_bytes()));
  matrix.panels = panels.data();
  if (weight.has_bias) {
    EXPERTILE_ASSIGN(
        const std::span<const float> bias,
        ReadFloats(reader_, weight.name + ".bias", matrix.num_panels() * matrix.panel_columns));
    matrix.bias = bias.data();
  }
  slot = PackedMatrix(matrix);
  return {};
}

Status WeightOpener::Open(const Weight& weight, PackedMlp& slot) const {
  PackedExperts one;
  EXPERTILE_RETURN_IF_ERROR(Open(weight, one));
  slot = {one.GateUp(0), one.Down(0)};
  return {};
}

Status WeightOpener::Open(const Weight& weight, PackedExperts& slot) const {
  EXPERTILE_ASSIGN(const std::string format_name, reader_.FormatOf(weight.name));
  EXPERTILE_ASSIGN(const WeightFormat format, FormatNamed(weight.name, format_name));
  const ExpertsShape shape{static_cast<int>(weight.count), weight.cols, weight.rows, format,
                           weight.has_bias};
  EXPERTILE_ASSIGN(slot, PackedExperts::WithoutMemory(table_, shape));
  EXPERTILE_ASSIGN(const std::span<const std::byte> panels,
                   reader_.Find(weight.name, format_name, slot.num_bytes()));
  const float* bias = nullptr;
  if (weight.has_bias) {
    EXPERTILE_ASSIGN(const std::span<const float> values,
                     ReadFloats(reader_, weight.name + ".bias", slot.bias_size()));
    bias = values.data();
  }
  slot.Use(panels.data(), bias);
  return {};
}

}  // namespace expertile::cpu
