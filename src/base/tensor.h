// TensorView: dtype, shape and bytes of a tensor that somebody else owns (a mapped file, a buffer).
// Not an activation type: targets have their own (targets/*/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/dtype.h"

namespace expertile {

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
