// The reference target's activations and weights: plain float32 vectors with their shapes.
// Not for speed: every value is kept the simplest way.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace expertile::reference {

struct Tensor {
  int64_t rows = 0;  // T
  int64_t width = 0;
  std::vector<float> values;  // [T, width]

  static Tensor Zeros(int64_t rows, int64_t width) {
    return {rows, width, std::vector<float>(rows * width, 0.0f)};
  }
  std::span<float> Row(int64_t row) { return {values.data() + row * width, size_t(width)}; }
  std::span<const float> Row(int64_t row) const {
    return {values.data() + row * width, static_cast<size_t>(width)};
  }
};

using Vector = std::vector<float>;

struct Linear {
  Tensor weight;  // [out, in]
  Vector bias;    // [out], or empty
};

struct Mlp {
  Linear gate;  // [I,H]
  Linear up;    // [I,H]
  Linear down;  // [H,I]
};

using Experts = std::vector<Mlp>;  // [E]

struct Routing {
  int experts_per_token = 0;   // K
  std::vector<int32_t> ids;    // [T,K]
  std::vector<float> weights;  // [T,K]
};

struct Rotation {
  Tensor cos;  // [T, D/2]
  Tensor sin;  // [T, D/2]
};

}  // namespace expertile::reference
