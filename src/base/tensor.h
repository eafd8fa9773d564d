// TensorView: dtype, shape and bytes of a tensor that somebody else owns (a mapped file, a buffer).
// Not an activation type: targets have their own (targets/*/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/dtype.h"

namespace expertile {

// Bytes of a tensor, for dimensions that nobody has checked yet: none if one is negative or a
// product of them leaves int64.
inline std::optional<int64_t> CheckedByteSize(DType dtype, std::span<const int64_t> shape) {
  int64_t size = SizeOf(dtype);
  for (const int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(size, dim, &size)) return std::nullopt;
  }
  return size;
}

// A shape with CheckedByteSize() == bytes.size(); so num_elements() does not overflow. The data may
// lie at any address, whatever the size of an element: read it with memcpy.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // row-major, contiguous; size == num_elements * SizeOf(dtype)

  int64_t num_elements() const {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    return count;
  }
};

}  // namespace expertile
