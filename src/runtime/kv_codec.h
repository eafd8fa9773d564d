// KvCodec: rows of a KV cache as bytes in one of its number formats. Encoding what was decoded
// gives the same bytes. Not a cache (targets/) and not a file (kv_file.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/dtype.h"
#include "expertile/result.h"

namespace expertile {

class KvCodec {
 public:
  // `format` is "float32", "bfloat16" or "mxint8". Errors: another name.
  static Result<KvCodec> Of(std::string_view format, int64_t head_dim);

  DType dtype() const { return dtype_; }
  int64_t row_elements() const { return row_elements_; }  // of dtype(), for one row of D values
  int64_t row_bytes() const { return row_elements_ * SizeOf(dtype_); }
  int64_t row_scales() const { return row_scales_; }  // bytes; 0 in formats without scales

  // Row `row` of planes [rows, row_bytes()] and [rows, row_scales()].
  void Encode(std::span<const float> values, int64_t row, std::span<std::byte> elements,
              std::span<std::byte> scales) const;
  void Decode(std::span<const std::byte> elements, std::span<const std::byte> scales, int64_t row,
              std::span<float> values) const;

 private:
  KvCodec(DType dtype, int64_t row_elements, int64_t row_scales)
      : dtype_(dtype), row_elements_(row_elements), row_scales_(row_scales) {}

  DType dtype_;
  int64_t row_elements_;
  int64_t row_scales_;
};

}  // namespace expertile
