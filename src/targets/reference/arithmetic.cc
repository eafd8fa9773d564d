#include "targets/reference/arithmetic.h"

#include <algorithm>
#include <cmath>

namespace expertile::reference {

float Dot(std::span<const float> a, std::span<const float> b) {
  const auto product = [&](size_t k) {
    return static_cast<double>(a[k]) * static_cast<double>(b[k]);
  };
  double sums[4] = {0.0, 0.0, 0.0, 0.0};  // of k mod 4; four at a time they stay in registers
  size_t k = 0;
  for (; k + 4 <= a.size(); k += 4) {
    for (size_t i = 0; i < 4; ++i) sums[i] += product(k + i);
  }
  for (; k < a.size(); ++k) sums[k % 4] += product(k);
  return static_cast<float>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void MultiplyRow(std::span<const float> x, const Linear& linear, std::span<float> y) {
  for (int64_t out = 0; out < linear.weight.rows; ++out) {
    y[out] = Dot(x, linear.weight.Row(out)) + (linear.bias.empty() ? 0.0f : linear.bias[out]);
  }
}

float Activate(float gate, float up, const GatedMlpSpec& spec) {
  if (spec.activation == GatedActivation::kSilu) return gate / (1.0f + std::exp(-gate)) * up;
  const float clamped_gate = std::min(gate, spec.limit);
  const float clamped_up = std::clamp(up, -spec.limit, spec.limit);
  return (clamped_up + 1.0f) * clamped_gate / (1.0f + std::exp(-spec.alpha * clamped_gate));
}

void MlpRow(std::span<const float> x, const Mlp& mlp, const GatedMlpSpec& spec,
            std::span<float> y) {
  const auto intermediate_size = static_cast<size_t>(mlp.gate.weight.rows);
  Vector gate(intermediate_size);
  Vector up(intermediate_size);
  MultiplyRow(x, mlp.gate, gate);
  MultiplyRow(x, mlp.up, up);
  for (size_t i = 0; i < intermediate_size; ++i) gate[i] = Activate(gate[i], up[i], spec);
  MultiplyRow(gate, mlp.down, y);
}

void AttendHead(std::span<const float> query, RowAt key, RowAt value, int64_t begin, int64_t end,
                float scale, const float* sink, std::span<float> mixed) {
  const size_t head_dim = query.size();
  Vector scores(end - begin);
  float largest = sink != nullptr ? *sink : -std::numeric_limits<float>::infinity();
  for (int64_t p = begin; p < end; ++p) {
    scores[p - begin] = Dot(query, key(p)) * scale;
    largest = std::max(largest, scores[p - begin]);
  }
  double sum = sink != nullptr ? std::exp(*sink - largest) : 0.0;
  std::vector<double> weighted(head_dim, 0.0);
  for (int64_t p = begin; p < end; ++p) {
    const double probability = std::exp(scores[p - begin] - largest);
    sum += probability;
    const std::span<const float> row = value(p);
    for (size_t i = 0; i < head_dim; ++i) weighted[i] += probability * row[i];
  }
  for (size_t i = 0; i < head_dim; ++i) mixed[i] = static_cast<float>(weighted[i] / sum);
}

}  // namespace expertile::reference
