// FiniteRows: where in a step each row first held a NaN or an infinity, layer by layer.
// Not for every step: recording copies activations to the host. A step is repeated for it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace expertile {

class FiniteRows {
 public:
  static constexpr int kInput = -1;  // in the place of a layer: what goes into layer 0

  explicit FiniteRows(int64_t num_rows) : first_(num_rows) {}

  // `hidden` [T,H] as it leaves `layer`; layers come in order, kInput before them.
  void Record(int layer, std::span<const float> hidden) {
    const size_t width = hidden.size() / first_.size();
    for (size_t t = 0; t < first_.size(); ++t) {
      const auto row = hidden.subspan(t * width, width);
      const bool is_finite = std::ranges::all_of(row, [](float x) { return std::isfinite(x); });
      if (!is_finite && !first_[t]) first_[t] = layer;
    }
  }

  // None: finite to the end of the last layer.
  std::optional<int> FirstLayer(int64_t row) const { return first_[row]; }

 private:
  std::vector<std::optional<int>> first_;  // [T]
};

}  // namespace expertile
