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

enum class KvFormat {
  kFloat32,
  kBFloat16,  // rounded to nearest even
  kMxInt8,    // formats/mxint8.h, blocks of 32 along a head
};

std::string_view NameOf(KvFormat format);  // "float32", "bfloat16", "mxint8"

class KvCodec {
 public:
  KvCodec(KvFormat format, int64_t head_dim);

  DType dtype() const { return dtype_; }
  int64_t head_dim() const { return head_dim_; }  // D elements of dtype() a row
  int64_t row_bytes() const { return head_dim_ * SizeOf(dtype_); }
  int64_t row_scales() const { return row_scales_; }  // bytes; 0 in formats without scales

  // Row `row` of planes [rows, row_bytes()] and [rows, row_scales()].
  void Encode(std::span<const float> values, int64_t row, std::span<std::byte> elements,
              std::span<std::byte> scales) const;
  void Decode(std::span<const std::byte> elements, std::span<const std::byte> scales, int64_t row,
              std::span<float> values) const;

 private:
  KvFormat format_;
  DType dtype_;
  int64_t head_dim_;
  int64_t row_scales_;
};

}  // namespace expertile
