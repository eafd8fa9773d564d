#include "formats/matrix_view.h"

#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "formats/mxfp4.h"

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

void ReadMxfp4Row(const std::byte* codes, const std::byte* scales, std::span<float> out) {
  for (size_t block = 0; block < out.size() / kMxBlockSize; ++block) {
    DecodeMxfp4Block(
        std::span<const std::byte, kMxfp4BlockBytes>(codes + block * kMxfp4BlockBytes,
                                                     kMxfp4BlockBytes),
        static_cast<uint8_t>(scales[block]),
        std::span<float, kMxBlockSize>(out.data() + block * kMxBlockSize, kMxBlockSize));
  }
}

MatrixView RowMajor(DType dtype, const std::byte* data, int64_t rows, int64_t cols) {
  return {dtype, data, rows, cols, /*row_stride=*/cols, /*col_stride=*/1, /*scales=*/nullptr};
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
  if (is_mxfp4()) {
    const int64_t first = r * row_stride / kMxBlockSize;  // block
    return ReadMxfp4Row(data + first * kMxfp4BlockBytes, scales + first, out);
  }
  ReadElements(dtype, data + r * row_stride * SizeOf(dtype), col_stride, out);
}

void MatrixView::CopyMxfp4Row(int64_t r, std::byte* codes, std::byte* row_scales) const {
  EXPERTILE_DCHECK(is_mxfp4() && r >= 0 && r < rows);
  const int64_t first = r * row_stride / kMxBlockSize;  // block
  const auto num_blocks = static_cast<size_t>(cols / kMxBlockSize);
  std::memcpy(codes, data + first * kMxfp4BlockBytes, num_blocks * kMxfp4BlockBytes);
  std::memcpy(row_scales, scales + first, num_blocks);
}

MatrixView MatrixView::Transposed() const {
  EXPERTILE_DCHECK(!is_mxfp4());
  return {dtype, data, cols, rows, col_stride, row_stride, /*scales=*/nullptr};
}

Result<MatrixView> MatrixView::Rows(int64_t first, int64_t count, int64_t step) const {
  // Division, not multiplication: count and step may be anything.
  const bool inside = first >= 0 && count >= 0 && step > 0 && first <= rows &&
                      (count == 0 || (first < rows && count - 1 <= (rows - 1 - first) / step));
  if (!inside) {
    return InvalidArgument("{} rows from {} in steps of {} are not within a matrix of {} rows",
                           count, first, step, rows);
  }
  MatrixView view = *this;
  view.rows = count;
  if (count == 0) return view;
  if (is_mxfp4()) {
    const int64_t first_block = first * row_stride / kMxBlockSize;
    view.data += first_block * kMxfp4BlockBytes;
    view.scales += first_block;
  } else {
    view.data += first * row_stride * SizeOf(dtype);
  }
  if (count > 1) view.row_stride = row_stride * step;  // the only row may have any step
  return view;
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

Result<MatrixView> Mxfp4SliceOf(const TensorView& blocks, const TensorView& scales, int64_t index,
                                std::string_view name) {
  const std::vector<int64_t>& shape = blocks.shape;
  if (blocks.dtype != DType::kU8 || scales.dtype != DType::kU8) {
    return Unsupported("{}: dtypes {} and {}, expected U8", OneLine(name), NameOf(blocks.dtype),
                       NameOf(scales.dtype));
  }
  if (shape.size() != 4 || shape[3] != kMxfp4BlockBytes ||
      scales.shape != std::vector<int64_t>(shape.begin(), shape.begin() + 3)) {
    return InvalidData(
        "{}: blocks {} and scales {}, expected [experts,rows,blocks,16] and the same without 16",
        OneLine(name), ShapeText(shape), ShapeText(scales.shape));
  }
  if (index < 0 || index >= shape[0]) {
    return InvalidArgument("{}: slice {} of a tensor of {}", OneLine(name), index, shape[0]);
  }
  const int64_t num_blocks = shape[1] * shape[2];  // of one matrix
  const int64_t cols = shape[2] * kMxBlockSize;
  return MatrixView{DType::kU8,
                    blocks.bytes.data() + index * num_blocks * kMxfp4BlockBytes,
                    shape[1],
                    cols,
                    /*row_stride=*/cols,
                    /*col_stride=*/1,
                    scales.bytes.data() + index * num_blocks};
}

}  // namespace expertile
