#include "targets/cpu/packed_weights.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/error.h"
#include "targets/cpu/panel_writer.h"

namespace expertile::cpu {
namespace {

constexpr int64_t kMaxDimension = int64_t{1} << 28;

// Panels of plain consecutive columns.
template <typename Writer, typename Reader>
void PackColumns(const PanelMatrix& matrix, std::byte* panels, Reader weights) {
  Writer writer(matrix);
  for (int64_t panel = 0; panel < matrix.num_panels(); ++panel) {
    writer.Clear();
    for (int column = 0; column < matrix.panel_columns; ++column) {
      const int64_t row = panel * matrix.panel_columns + column;
      if (row < matrix.out) weights(row, writer.Row(column));
    }
    writer.Write(panels + panel * matrix.panel_bytes());
  }
}

// Panels of half gate and half up columns.
template <typename Writer, typename Reader>
void PackGateUp(const PanelMatrix& matrix, std::byte* panels, int64_t intermediate_size,
                Reader gate, Reader up) {
  Writer writer(matrix);
  const int half = matrix.panel_columns / 2;
  for (int64_t panel = 0; panel < matrix.num_panels(); ++panel) {
    writer.Clear();
    for (int column = 0; column < half; ++column) {
      const int64_t row = panel * half + column;
      if (row >= intermediate_size) break;
      gate(row, writer.Row(column));
      up(row, writer.Row(half + column));
    }
    writer.Write(panels + panel * matrix.panel_bytes());
  }
}

// Calls pack.operator()<Writer>() with the writer of rows of floats as panels in `format`.
template <typename Pack>
void PackRows(WeightFormat format, Pack pack) {
  EXPERTILE_DCHECK(format != WeightFormat::kMxfp4);
  switch (format) {
    case WeightFormat::kMxfp6:
      return pack.template operator()<Mxfp6PanelWriter>();
    case WeightFormat::kMxint8:
      return pack.template operator()<Mxint8PanelWriter>();
    default:
      return pack.template operator()<FloatPanelWriter>();
  }
}

bool IsDimension(int64_t size) { return size >= 1 && size < kMaxDimension; }

// Fits 64 bits: dimensions are below 2^28, elements at most 4 bytes, padding less than doubles.
int64_t MatrixBytes(const PanelMatrix& matrix) {
  return matrix.num_panels() * matrix.panel_bytes();
}

Status CheckMatrix(int64_t out, int64_t in) {
  if (IsDimension(out) && IsDimension(in)) return {};
  return InvalidArgument("weights: shape [{},{}], expected 1 to 2^28 each way", out, in);
}

}  // namespace

void PackPanels(const PanelMatrix& matrix, int64_t first, int64_t count, RowReader weights,
                std::byte* panels) {
  PanelMatrix part = matrix;
  part.out = std::min(count * matrix.panel_columns, matrix.out - first * matrix.panel_columns);
  const auto rows = [&](int64_t row, float* values) {
    weights(first * matrix.panel_columns + row, values);
  };
  PackRows(matrix.format, [&]<typename Writer>() { PackColumns<Writer>(part, panels, rows); });
}

Result<PanelMatrix> PackedMatrix::ShapeOf(const KernelTable& table, WeightFormat format,
                                          int64_t out, int64_t in) {
  EXPERTILE_RETURN_IF_ERROR(CheckMatrix(out, in));
  if (format == WeightFormat::kMxfp4 && in % kMxBlockSize != 0) {
    return InvalidArgument("matrix [{},{}] in MXFP4, expected a multiple of {} columns", out, in,
                           kMxBlockSize);
  }
  return PanelMatrix{nullptr, nullptr, format, in, out, table.panel_columns};
}

Result<PackedMatrix> PackedMatrix::Create(const KernelTable& table, WeightFormat format,
                                          int64_t out, int64_t in, RowReader weights,
                                          std::span<const float> bias) {
  EXPERTILE_ASSIGN(const PanelMatrix shape, ShapeOf(table, format, out, in));
  PackedMatrix packed(shape);
  EXPERTILE_ASSIGN(packed.panels_, PageMemory::Allocate(MatrixBytes(shape)));
  PackPanels(shape, 0, shape.num_panels(), weights, packed.panels_.data());
  packed.view_.panels = packed.panels_.data();
  if (!bias.empty()) {
    EXPERTILE_DCHECK(static_cast<int64_t>(bias.size()) == out);
    packed.bias_.assign(static_cast<size_t>(packed.view_.num_panels() * table.panel_columns), 0.0f);
    std::copy(bias.begin(), bias.end(), packed.bias_.begin());
    packed.view_.bias = packed.bias_.data();
  }
  return packed;
}

Result<PackedExperts> PackedExperts::WithoutMemory(const KernelTable& table,
                                                   const ExpertsShape& shape) {
  const int64_t hidden = shape.hidden_size;
  const int64_t intermediate = shape.intermediate_size;
  if (shape.num_experts < 1 || !IsDimension(hidden) || !IsDimension(intermediate)) {
    return InvalidArgument("experts: E={} H={} I={}, expected 1 or more each", shape.num_experts,
                           hidden, intermediate);
  }
  if (shape.format == WeightFormat::kMxfp4 &&
      (hidden % kMxBlockSize != 0 || intermediate % kMxBlockSize != 0)) {
    return InvalidArgument("experts: H={} I={} in MXFP4, expected multiples of {}", hidden,
                           intermediate, kMxBlockSize);
  }
  PackedExperts experts;
  experts.shape_ = shape;
  experts.panel_columns_ = table.panel_columns;
  const PanelMatrix gate_up = experts.GateUpShape();
  const PanelMatrix down = experts.DownShape();
  int64_t num_bytes = 0;
  if (__builtin_add_overflow(MatrixBytes(gate_up), MatrixBytes(down), &experts.expert_bytes_) ||
      __builtin_mul_overflow(experts.expert_bytes_, shape.num_experts, &num_bytes) ||
      num_bytes > std::numeric_limits<int64_t>::max() / 2) {
    return InvalidArgument("experts: E={} H={} I={} is too large", shape.num_experts, hidden,
                           intermediate);
  }
  if (shape.has_bias) {
    experts.expert_bias_size_ = (gate_up.num_panels() + down.num_panels()) * experts.panel_columns_;
  }
  return experts;
}

Result<PackedExperts> PackedExperts::Create(const KernelTable& table, const ExpertsShape& shape) {
  EXPERTILE_ASSIGN(PackedExperts experts, WithoutMemory(table, shape));
  EXPERTILE_ASSIGN(experts.storage_, PageMemory::Allocate(experts.num_bytes()));
  experts.Use(experts.storage_.data());
  experts.bias_storage_.assign(static_cast<size_t>(experts.bias_size()), 0.0f);
  experts.bias_ = shape.has_bias ? experts.bias_storage_.data() : nullptr;
  return experts;
}

PanelMatrix PackedExperts::GateUpShape() const {
  const int64_t out = 2 * RoundUp(shape_.intermediate_size, panel_columns_ / 2);
  return {nullptr, nullptr, shape_.format, shape_.hidden_size, out, panel_columns_};
}

PanelMatrix PackedExperts::DownShape() const {
  return {nullptr,       nullptr, shape_.format, shape_.intermediate_size, shape_.hidden_size,
          panel_columns_};
}

PanelMatrix PackedExperts::GateUp(int expert) const {
  PanelMatrix matrix = GateUpShape();
  matrix.panels = panels_ + expert * expert_bytes_;
  if (bias_ != nullptr) matrix.bias = bias_ + expert * expert_bias_size_;
  return matrix;
}

PanelMatrix PackedExperts::Down(int expert) const {
  const PanelMatrix gate_up = GateUp(expert);
  PanelMatrix matrix = DownShape();
  matrix.panels = gate_up.panels + MatrixBytes(gate_up);
  if (bias_ != nullptr) matrix.bias = gate_up.bias + gate_up.num_panels() * panel_columns_;
  return matrix;
}

template <typename Writer, typename Reader>
void PackedExperts::PackMatrices(int expert, Reader gate, Reader up, Reader down) {
  const PanelMatrix gate_up = GateUp(expert);
  std::byte* target = writable_ + expert * expert_bytes_;
  PackGateUp<Writer>(gate_up, target, shape_.intermediate_size, gate, up);
  PackColumns<Writer>(Down(expert), target + MatrixBytes(gate_up), down);
}

void PackedExperts::Pack(int expert, const ExpertWeights& weights) {
  PackRows(shape_.format, [&]<typename Writer>() {
    PackMatrices<Writer>(expert, weights.gate, weights.up, weights.down);
  });
}

void PackedExperts::PackMxfp4(int expert, const Mxfp4ExpertWeights& weights) {
  EXPERTILE_DCHECK(shape_.format == WeightFormat::kMxfp4);
  PackMatrices<Mxfp4PanelWriter>(expert, weights.gate, weights.up, weights.down);
}

void PackedExperts::PackBias(int expert, const ExpertBias& weights) {
  if (!shape_.has_bias) return;
  WriteBias(expert, weights, bias_storage_.data());
}

void PackedExperts::WriteBias(int expert, const ExpertBias& weights, float* biases) const {
  const PanelMatrix gate_up = GateUpShape();
  float* bias = biases + expert * expert_bias_size_;
  const int half = panel_columns_ / 2;
  for (int64_t i = 0; i < shape_.intermediate_size; ++i) {
    float* panel = bias + i / half * panel_columns_ + i % half;
    panel[0] = weights.gate[static_cast<size_t>(i)];
    panel[half] = weights.up[static_cast<size_t>(i)];
  }
  std::copy(weights.down.begin(), weights.down.end(), bias + gate_up.num_panels() * panel_columns_);
}

}  // namespace expertile::cpu
