// Hostile safetensors bytes: whatever opens must be readable to its last byte.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "formats/matrix_view.h"
#include "formats/safetensors.h"

namespace expertile {
namespace {

volatile float sink;

void ReadCorners(const MatrixView& matrix) {
  if (matrix.rows == 0 || matrix.cols == 0) return;
  sink = matrix.At(0, 0);
  sink = matrix.At(matrix.rows - 1, matrix.cols - 1);
  std::vector<float> row(static_cast<size_t>(matrix.cols));
  matrix.ReadRow(matrix.rows - 1, row);
  if (const auto odd = matrix.Rows(1, matrix.rows / 2, 2); odd && odd->rows > 0) {
    sink = odd->Transposed().At(matrix.cols - 1, odd->rows - 1);
  }
}

void ReadTensor(const TensorView& tensor) {
  if (static_cast<size_t>(tensor.num_elements()) * SizeOf(tensor.dtype) != tensor.bytes.size()) {
    __builtin_trap();
  }
  if (!tensor.bytes.empty()) sink = std::to_integer<uint8_t>(tensor.bytes.back());
  if (const auto matrix = MatrixOf(tensor, "tensor")) ReadCorners(*matrix);
  if (const auto first = SliceOf(tensor, 0, "tensor")) {
    ReadCorners(*first);
    ReadCorners(*SliceOf(tensor, tensor.shape[0] - 1, "tensor"));
  }
}

}  // namespace
}  // namespace expertile

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace expertile;
  const auto file = SafetensorsFile::Parse(std::as_bytes(std::span(data, size)), "input");
  if (!file) {
    if (file.error().message.find('\n') != std::string::npos) __builtin_trap();
    return 0;
  }
  for (const auto& [name, tensor] : file->tensors()) ReadTensor(tensor);
  for (const auto& [name, tensor] : file->unreadable()) {
    if (!tensor.bytes.empty()) sink = std::to_integer<uint8_t>(tensor.bytes.back());
    if (CannotRead(name, tensor).value().message.find('\n') != std::string::npos) __builtin_trap();
  }
  return 0;
}
