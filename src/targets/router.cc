#include "targets/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace expertile {
namespace {

// softmax in place, in float with the maximum subtracted.
void Softmax(std::span<float> values) {
  const float largest = *std::ranges::max_element(values);
  float sum = 0.0f;
  for (float& value : values) {
    value = std::exp(value - largest);
    sum += value;
  }
  for (float& value : values) value /= sum;
}

// Whether index a comes before b when `values` are ranked: numbers by size, NaN below every number,
// equals by lower index. A strict order of all indices, whatever the values.
bool RanksBefore(std::span<const float> values, size_t a, size_t b) {
  if (values[a] > values[b]) return true;
  if (values[a] < values[b]) return false;
  const bool a_is_nan = std::isnan(values[a]);
  const bool b_is_nan = std::isnan(values[b]);
  return a_is_nan == b_is_nan ? a < b : b_is_nan;
}

// The K first of the ranking, and their values. Each pass takes the first of those after the last
// one taken, so the K are distinct. K passes: K is small beside E.
void TopK(std::span<const float> values, std::span<int32_t> ids, std::span<float> chosen) {
  const size_t none = values.size();
  size_t last = none;
  for (size_t k = 0; k < ids.size(); ++k) {
    size_t first = none;
    for (size_t i = 0; i < values.size(); ++i) {
      const bool is_left = last == none || RanksBefore(values, last, i);
      if (is_left && (first == none || RanksBefore(values, i, first))) first = i;
    }
    ids[k] = static_cast<int32_t>(first);
    chosen[k] = values[first];
    last = first;
  }
}

// Whether softmax has a value: no NaN, no +inf, and not -inf alone.
bool HasSoftmax(std::span<const float> logits) {
  if (std::ranges::any_of(logits, [](float logit) { return std::isnan(logit); })) return false;
  return std::isfinite(*std::ranges::max_element(logits));
}

}  // namespace

void SelectExperts(std::span<float> logits, const RouterSpec& spec, std::span<int32_t> ids,
                   std::span<float> weights) {
  if (!HasSoftmax(logits)) {
    TopK(logits, ids, weights);
    std::ranges::fill(weights, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  if (spec.score == RouterScore::kTopKThenSoftmax) {
    TopK(logits, ids, weights);
    return Softmax(weights);
  }
  Softmax(logits);
  TopK(logits, ids, weights);
  if (!spec.normalize) return;
  float sum = 0.0f;
  for (const float weight : weights) sum += weight;
  for (float& weight : weights) weight /= sum;
}

}  // namespace expertile
