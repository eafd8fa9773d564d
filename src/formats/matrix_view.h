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
  DType dtype = DType::kF32;        // kF32, kBF16 or kF16; kU8 for MXFP4 codes
  const std::byte* data = nullptr;  // of element (0, 0), at any alignment
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;             // elements from (r, c) to (r + 1, c)
  int64_t col_stride = 1;             // elements from (r, c) to (r, c + 1); 1 in MXFP4
  const std::byte* scales = nullptr;  // MXFP4: of the row's first block; elsewhere null

  bool is_mxfp4() const { return scales != nullptr; }

  float At(int64_t r, int64_t c) const;  // not of MXFP4
  // Row r as floats, exactly. r < rows, out.size() == cols.
  void ReadRow(int64_t r, std::span<float> out) const;

  // Row r of MXFP4 as it lies: codes [cols/2], scales [cols/32].
  void CopyMxfp4Row(int64_t r, std::byte* codes, std::byte* row_scales) const;

  MatrixView Transposed() const;  // [cols, rows]; not of MXFP4
  // Rows first, first + step, … : [count, cols]. With step 2 and first 0 or 1, the gate or the up
  // rows of interleaved experts. Refuses rows that are not there.
  Result<MatrixView> Rows(int64_t first, int64_t count, int64_t step = 1) const;
};

// A tensor [rows, cols], or a vector [cols] as one row. `name` names it in errors; refuses other
// ranks and dtypes that are not floating point of at most 32 bits.
Result<MatrixView> MatrixOf(const TensorView& tensor, std::string_view name);

// Matrix `index` of MXFP4 experts as GPT-OSS checkpoints have them: blocks U8 [E, rows, cols/32,
// 16], scales U8 [E, rows, cols/32].
Result<MatrixView> Mxfp4SliceOf(const TensorView& blocks, const TensorView& scales, int64_t index,
                                std::string_view name);

// Matrix `index` of a tensor [E, rows, cols]: one expert of a fused tensor.
Result<MatrixView> SliceOf(const TensorView& tensor, int64_t index, std::string_view name);

}  // namespace expertile
