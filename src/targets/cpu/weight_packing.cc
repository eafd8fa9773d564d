#include "targets/cpu/weight_packing.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace expertile::cpu {
namespace {

struct FormatName {
  WeightFormat format;
  std::string_view name;
};
constexpr std::array kFormatNames = {
    FormatName{WeightFormat::kFloat32, "float32"}, FormatName{WeightFormat::kBFloat16, "bfloat16"},
    FormatName{WeightFormat::kMxfp6, "mxfp6"}, FormatName{WeightFormat::kMxfp4, "mxfp4"}};

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

void PackExpert(int e, const ExpertView& view, PackedExperts& experts) {
  if (view.gate.weight.is_mxfp4()) {
    const auto gate = Mxfp4Rows(view.gate.weight);
    const auto up = Mxfp4Rows(view.up.weight);
    const auto down = Mxfp4Rows(view.down.weight);
    return experts.PackMxfp4(e, {gate, up, down});
  }
  const auto gate = FloatRows(view.gate.weight);
  const auto up = FloatRows(view.up.weight);
  const auto down = FloatRows(view.down.weight);
  experts.Pack(e, {gate, up, down});
}

}  // namespace

WeightFormat WeightPacker::FormatOf(const MatrixView& view) const {
  const bool rounds = options_.compute == DType::kBF16 && !view.is_mxfp4();
  return rounds ? WeightFormat::kBFloat16 : LosslessFormatOf(view);
}

WeightFormat WeightPacker::MatrixFormatOf(const MatrixView& view) const {
  return options_.mxfp6_matmul && !view.is_mxfp4() ? WeightFormat::kMxfp6 : FormatOf(view);
}

Result<WeightPacker::Nothing> WeightPacker::PackVector(const std::string& name,
                                                       const MatrixView& view) {
  EXPERTILE_RETURN_IF_ERROR(WriteFloats(writer_, name, FloatsOf(view)));
  return Nothing();
}

Result<WeightPacker::Nothing> WeightPacker::PackEmbedding(const std::string& name,
                                                          const MatrixView& view) {
  EXPERTILE_RETURN_IF_ERROR(WriteTable(writer_, name, view));
  return Nothing();
}

Result<WeightPacker::Nothing> WeightPacker::PackLinear(const std::string& name,
                                                       const LinearView& view) {
  return Pack(name, view, MatrixFormatOf(view.weight));
}

Result<WeightPacker::Nothing> WeightPacker::PackVisionLinear(const std::string& name,
                                                             const LinearView& view) {
  return Pack(name, view, FormatOf(view.weight));
}

Result<WeightPacker::Nothing> WeightPacker::PackRouter(const std::string& name,
                                                       const LinearView& view) {
  return Pack(name, view, LosslessFormatOf(view.weight));
}

Result<WeightPacker::Nothing> WeightPacker::Pack(const std::string& name, const LinearView& view,
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
    pool_.ForEach(count, [&](int64_t panel, int) {
      PackPanels(shape, first + panel, 1, rows, piece.data() + panel * panel_bytes);
    });
  }
  if (view.bias) {
    std::vector<float> bias = FloatsOf(view.bias);
    bias.resize(shape.num_panels() * shape.panel_columns, 0.0f);
    EXPERTILE_RETURN_IF_ERROR(WriteFloats(writer_, name + ".bias", bias));
  }
  return Nothing();
}

Result<WeightPacker::Nothing> WeightPacker::PackExperts(const std::string& name,
                                                        const std::vector<ExpertView>& views) {
  const ExpertView& first = views[0];
  const auto num_experts = static_cast<int>(views.size());
  ExpertsShape shape{num_experts,
                     first.gate.weight.cols,
                     first.gate.weight.rows,
                     MatrixFormatOf(first.gate.weight),
                     first.gate.bias.has_value(),
                     {}};
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
    pool_.ForEach(shape.num_experts, [&](int64_t e, int) {
      PackExpert(static_cast<int>(e), views[begin + e], batch);
    });
  }
  if (shape.has_bias) {
    std::vector<float> bias(all.bias_size(), 0.0f);
    for (int e = 0; e < num_experts; ++e) {
      const ExpertView& view = views[e];
      const std::vector<float> gate = FloatsOf(view.gate.bias);
      const std::vector<float> up = FloatsOf(view.up.bias);
      const std::vector<float> down = FloatsOf(view.down.bias);
      all.WriteBias(e, {gate, up, down}, bias.data());
    }
    EXPERTILE_RETURN_IF_ERROR(WriteFloats(writer_, name + ".bias", bias));
  }
  return Nothing();
}

Result<std::vector<float>> WeightOpener::PackVector(const std::string& name,
                                                    const MatrixView& shape) const {
  EXPERTILE_ASSIGN(const std::span<const float> values, ReadFloats(reader_, name, shape.cols));
  return std::vector<float>(values.begin(), values.end());
}

Result<MatrixView> WeightOpener::PackEmbedding(const std::string& name,
                                               const MatrixView& shape) const {
  return ReadTable(reader_, name, shape.rows, shape.cols);
}

Result<PackedMatrix> WeightOpener::PackLinear(const std::string& name,
                                              const LinearView& shape) const {
  EXPERTILE_ASSIGN(const std::string format_name, reader_.FormatOf(name));
  EXPERTILE_ASSIGN(const WeightFormat format, FormatNamed(name, format_name));
  EXPERTILE_ASSIGN(PanelMatrix matrix,
                   PackedMatrix::ShapeOf(table_, format, shape.weight.rows, shape.weight.cols));
  EXPERTILE_ASSIGN(const std::span<const std::byte> panels,
                   reader_.Find(name, format_name, matrix.num_panels() * matrix.panel_bytes()));
  matrix.panels = panels.data();
  if (reader_.Has(name + ".bias")) {
    EXPERTILE_ASSIGN(
        const std::span<const float> bias,
        ReadFloats(reader_, name + ".bias", matrix.num_panels() * matrix.panel_columns));
    matrix.bias = bias.data();
  }
  return PackedMatrix(matrix);
}

Result<PackedExperts> WeightOpener::PackExperts(const std::string& name,
                                                const std::vector<ExpertView>& shapes) const {
  EXPERTILE_ASSIGN(const std::string format_name, reader_.FormatOf(name));
  EXPERTILE_ASSIGN(const WeightFormat format, FormatNamed(name, format_name));
  const bool has_bias = reader_.Has(name + ".bias");
  const MatrixView& gate = shapes[0].gate.weight;
  const ExpertsShape shape{
      static_cast<int>(shapes.size()), gate.cols, gate.rows, format, has_bias, spec_.moe.gated};
  EXPERTILE_ASSIGN(PackedExperts experts, PackedExperts::WithoutMemory(table_, shape));
  EXPERTILE_ASSIGN(const std::span<const std::byte> panels,
                   reader_.Find(name, format_name, experts.num_bytes()));
  const float* bias = nullptr;
  if (has_bias) {
    EXPERTILE_ASSIGN(const std::span<const float> values,
                     ReadFloats(reader_, name + ".bias", experts.bias_size()));
    bias = values.data();
  }
  experts.Use(panels.data(), bias);
  return experts;
}

}  // namespace expertile::cpu
