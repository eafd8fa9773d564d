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

// The K first of the ranking, and their values: each index in turn is put among the first ones so
// far, which most don't reach.
void TopK(std::span<const float> values, std::span<int32_t> ids, std::span<float> chosen) {
  size_t num_ids = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto is_before = [&](size_t k) { return RanksBefore(values, i, ids[k]); };
    if (num_ids == ids.size() && !is_before(num_ids - 1)) continue;
    size_t k = num_ids < ids.size() ? num_ids++ : num_ids - 1;
    for (; k > 0 && is_before(k - 1); --k) ids[k] = ids[k - 1];
    ids[k] = static_cast<int32_t>(i);
  }
  for (size_t k = 0; k < ids.size(); ++k) chosen[k] = values[ids[k]];
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
