#include "formats/matrix_view.h"

#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace expertile {
namespace {

// One number format's bits and what they mean; Load reads them from any address.
struct Float32 {
  using Bits = float;
  static float Value(float value) { return value; }
};
struct BFloat16 {
  using Bits = uint16_t;
  static float Value(uint16_t bits) { return BFloat16ToFloat(bits); }
};
struct Half {
  using Bits = uint16_t;
  static float Value(uint16_t bits) { return HalfToFloat(bits); }
};

template <typename Format>
float Load(const std::byte* address) {
  typename Format::Bits bits;
  std::memcpy(&bits, address, sizeof(bits));
  return Format::Value(bits);
}

template <typename Format>
void ReadStrided(const std::byte* first, int64_t stride, std::span<float> out) {
  constexpr int64_t kSize = sizeof(typename Format::Bits);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = Load<Format>(first + static_cast<int64_t>(i) * stride * kSize);
  }
}

void ReadElements(DType dtype, const std::byte* first, int64_t stride, std::span<float> out) {
  switch (dtype) {
    case DType::kF32:
      return ReadStrided<Float32>(first, stride, out);
    case DType::kBF16:
      return ReadStrided<BFloat16>(first, stride, out);
    case DType::kF16:
      return ReadStrided<Half>(first, stride, out);
    default:
      EXPERTILE_DCHECK(false);
  }
}

Status CheckLayout(const TensorView& tensor, bool has_rank, std::string_view expected_shape,
                   std::string_view name) {
  if (!has_rank) {
    return InvalidData("{}: shape {}, expected {}", OneLine(name), ShapeText(tensor.shape),
                       expected_shape);
  }
  if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kBF16 && tensor.dtype != DType::kF16) {
    return Unsupported("{}: dtype {}, expected F32, BF16 or F16", OneLine(name),
                       NameOf(tensor.dtype));
  }
  return {};
}

MatrixView RowMajor(DType dtype, const std::byte* data, int64_t rows, int64_t cols) {
  return {dtype, data, rows, cols, /*row_stride=*/cols, /*col_stride=*/1};
}

}  // namespace

float MatrixView::At(int64_t r, int64_t c) const {
  EXPERTILE_DCHECK(r >= 0 && r < rows && c >= 0 && c < cols);
  float value = 0;
  ReadElements(dtype, data + (r * row_stride + c * col_stride) * SizeOf(dtype), 1, {&value, 1});
  return value;
}

void MatrixView::ReadRow(int64_t r, std::span<float> out) const {
  EXPERTILE_DCHECK(r >= 0 && r < rows && static_cast<int64_t>(out.size()) == cols);
  ReadElements(dtype, data + r * row_stride * SizeOf(dtype), col_stride, out);
}

MatrixView MatrixView::Transposed() const {
  return {dtype, data, cols, rows, col_stride, row_stride};
}

Result<MatrixView> MatrixView::Rows(int64_t first, int64_t count, int64_t step) const {
  // Division, not multiplication: count and step may be anything.
  const bool inside = first >= 0 && count >= 0 && step > 0 && first <= rows &&
                      (count == 0 || (first < rows && count - 1 <= (rows - 1 - first) / step));
  if (!inside) {
    return InvalidArgument("{} rows from {} in steps of {} are not within a matrix of {} rows",
                           count, first, step, rows);
  }
  if (count == 0) return MatrixView{dtype, data, 0, cols, row_stride, col_stride};
  const std::byte* start = data + first * row_stride * SizeOf(dtype);
  const int64_t stride =
      count > 1 ? row_stride * step : row_stride;  // the only row may have any step
  return MatrixView{dtype, start, count, cols, stride, col_stride};
}

Result<MatrixView> MatrixOf(const TensorView& tensor, std::string_view name) {
  const size_t rank = tensor.shape.size();
  EXPERTILE_RETURN_IF_ERROR(
      CheckLayout(tensor, rank == 1 || rank == 2, "[rows,cols] or [cols]", name));
  const int64_t rows = rank == 2 ? tensor.shape[0] : 1;
  return RowMajor(tensor.dtype, tensor.bytes.data(), rows, tensor.shape.back());
}

Result<MatrixView> SliceOf(const TensorView& tensor, int64_t index, std::string_view name) {
  EXPERTILE_RETURN_IF_ERROR(
      CheckLayout(tensor, tensor.shape.size() == 3, "[experts,rows,cols]", name));
  const int64_t experts = tensor.shape[0];
  const int64_t rows = tensor.shape[1];
  const int64_t cols = tensor.shape[2];
  if (index < 0 || index >= experts) {
    return InvalidArgument("{}: slice {} of a tensor of {}", OneLine(name), index, experts);
  }
  const int64_t slice_size = static_cast<int64_t>(tensor.bytes.size()) / experts;
  return RowMajor(tensor.dtype, tensor.bytes.data() + index * slice_size, rows, cols);
}

}  // namespace expertile
