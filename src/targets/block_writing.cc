#include "targets/block_writing.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace expertile {
namespace {

struct PackingVisitor {
  WeightWriter& writer;
  Packer& packer;
  LayerProgress progress;

  Status BeginGroup(const std::string& group) {
    EXPERTILE_RETURN_IF_ERROR(progress.BeginGroup());
    return writer.BeginGroup(group);
  }
  Status operator()(const Weight& weight, const WeightView& view) {
    return packer.Pack(weight.name, view, weight.role);
  }
};

}  // namespace

Status PackCheckpoint(const Checkpoint& checkpoint, const TargetOptions& options,
                      WeightWriter& writer, Packer& packer) {
  const DecoderSpec& spec = checkpoint.config.spec;
  EXPERTILE_RETURN_IF_ERROR(
      VisitWeights(spec, PackingVisitor{writer, packer, {spec.layers.size(), options.on_layer}},
                   checkpoint.weights));
  if (!checkpoint.vision_weights || options.skip_vision) return {};
  return VisitWeights(checkpoint.config.vision->spec, PackingVisitor{writer, packer, {0, {}}},
                      *checkpoint.vision_weights);
}

std::vector<float> FloatsOf(const std::optional<MatrixView>& vector) {
  std::vector<float> values;
  if (vector) {
    values.resize(vector->cols);
    vector->ReadRow(0, values);
  }
  return values;
}

Status WriteFloats(WeightWriter& writer, const std::string& name, std::span<const float> values) {
  const auto count = static_cast<int64_t>(values.size());
  const auto num_bytes = static_cast<int64_t>(values.size_bytes());
  EXPERTILE_RETURN_IF_ERROR(writer.Begin({name, "float32", count, num_bytes}));
  EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer.Piece(num_bytes));
  std::memcpy(piece.data(), values.data(), values.size_bytes());
  return {};
}

Status WriteTable(WeightWriter& writer, const std::string& name, const MatrixView& table) {
  const int64_t element_size = SizeOf(table.dtype);
  const int64_t row_bytes = table.cols * element_size;
  EXPERTILE_RETURN_IF_ERROR(writer.Begin({name, std::string(LongNameOf(table.dtype)),
                                          table.rows * table.cols, table.rows * row_bytes}));
  const int64_t rows_per_piece = std::max<int64_t>(1, kMaxPieceBytes / row_bytes);
  for (int64_t first = 0; first < table.rows; first += rows_per_piece) {
    const int64_t count = std::min(rows_per_piece, table.rows - first);
    EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer.Piece(count * row_bytes));
    for (int64_t r = 0; r < count; ++r) {
      std::memcpy(piece.data() + r * row_bytes,
                  table.data + (first + r) * table.row_stride * element_size,
                  static_cast<size_t>(row_bytes));
    }
  }
  return {};
}

Result<std::span<const float>> ReadFloats(const WeightReader& reader, const std::string& name,
                                          int64_t count) {
  EXPERTILE_ASSIGN(const std::span<const std::byte> bytes,
                   reader.Find(name, "float32", count * static_cast<int64_t>(sizeof(float))));
  return std::span(reinterpret_cast<const float*>(bytes.data()), static_cast<size_t>(count));
}

Result<MatrixView> ReadTable(const WeightReader& reader, const std::string& name, int64_t rows,
                             int64_t cols) {
  EXPERTILE_ASSIGN(const std::string format, reader.FormatOf(name));
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    if (LongNameOf(dtype) != format) continue;
    EXPERTILE_ASSIGN(const std::span<const std::byte> bytes,
                     reader.Find(name, format, rows * cols * SizeOf(dtype)));
    return MatrixView{dtype,
                      bytes.data(),
                      rows,
                      cols,
                      /*row_stride=*/cols,
                      /*col_stride=*/1,
                      /*scales=*/nullptr};
  }
  return InvalidData("{}: format {}, expected float32, bfloat16 or float16", name, OneLine(format));
}

}  // namespace expertile
