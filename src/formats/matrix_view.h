// MatrixView: a strided [rows, cols] view of a checkpoint tensor's bytes, so that every layout that
// checkpoints keep expert weights in reads as plain matrices without a copy. Not for computing
// with: targets pack what they read from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/tensor.h"
#include "expertile/result.h"

namespace expertile {

struct MatrixView {
  DType dtype = DType::kF32;        // kF32, kBF16 or kF16
  const std::byte* data = nullptr;  // of element (0, 0), at any alignment
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;  // elements from (r, c) to (r + 1, c)
  int64_t col_stride = 1;  // elements from (r, c) to (r, c + 1)

  float At(int64_t r, int64_t c) const;
  // Row r as floats, exactly. r < rows, out.size() == cols.
  void ReadRow(int64_t r, std::span<float> out) const;

  MatrixView Transposed() const;  // [cols, rows]
  // Rows first, first + step, … : [count, cols]. With step 2 and first 0 or 1, the gate or the up
  // rows of interleaved experts. Refuses rows that are not there.
  Result<MatrixView> Rows(int64_t first, int64_t count, int64_t step = 1) const;
};

// A tensor [rows, cols], or a vector [cols] as one row. `name` names it in errors; refuses other
// ranks and dtypes that are not floating point of at most 32 bits.
Result<MatrixView> MatrixOf(const TensorView& tensor, std::string_view name);

// Matrix `index` of a tensor [E, rows, cols]: one expert of a fused tensor.
Result<MatrixView> SliceOf(const TensorView& tensor, int64_t index, std::string_view name);

}  // namespace expertile
