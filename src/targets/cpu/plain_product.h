// Matrix products and gated experts written as their definition, for tests to compare against.
// Not used by the target.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "base/dtype.h"
#include "model/decoder_spec.h"

namespace expertile::cpu {

struct PlainMatrix {
  int64_t rows;
  int64_t columns;
  std::vector<float> values;  // [rows, columns]

  const float* Row(int64_t r) const { return values.data() + r * columns; }
  void operator()(int64_t row, float* out) const {
    for (int64_t c = 0; c < columns; ++c) out[c] = Row(row)[c];
  }
};

inline PlainMatrix RandomMatrix(int64_t rows, int64_t columns, uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  PlainMatrix matrix = {rows, columns, std::vector<float>(static_cast<size_t>(rows * columns))};
  for (float& value : matrix.values) value = normal(random);
  return matrix;
}

inline PlainMatrix Rounded(PlainMatrix matrix) {
  for (float& value : matrix.values) value = BFloat16ToFloat(FloatToBFloat16(value));
  return matrix;
}

// a [M, in] x weights [out, in] + bias, one fused multiply-add after another in increasing k.
inline PlainMatrix FusedProduct(const PlainMatrix& a, const PlainMatrix& weights,
                                const std::vector<float>& bias = {}) {
  PlainMatrix out = {a.rows, weights.rows, {}};
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t n = 0; n < weights.rows; ++n) {
      float sum = 0.0f;
      for (int64_t k = 0; k < a.columns; ++k) sum = std::fma(a.Row(r)[k], weights.Row(n)[k], sum);
      out.values.push_back(sum + (bias.empty() ? 0.0f : bias[static_cast<size_t>(n)]));
    }
  }
  return out;
}

inline double PlainGated(double gate, double up, const GatedMlpSpec& spec) {
  if (spec.activation == GatedActivation::kSilu) return gate / (1.0 + std::exp(-gate)) * up;
  const double limit = spec.limit;
  gate = std::fmin(gate, limit);
  up = std::fmin(std::fmax(up, -limit), limit);
  return (up + 1.0) * gate / (1.0 + std::exp(-spec.alpha * gate));
}

}  // namespace expertile::cpu
