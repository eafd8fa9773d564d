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

// The K largest of `scores`, largest first, ties by lower index. K passes: K is small beside E.
void TopK(std::span<float> scores, std::span<int32_t> ids, std::span<float> values) {
  for (size_t k = 0; k < ids.size(); ++k) {
    const auto largest = std::ranges::max_element(scores);
    ids[k] = static_cast<int32_t>(largest - scores.begin());
    values[k] = *largest;
    *largest = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

void SelectExperts(std::span<float> logits, const RouterSpec& spec, std::span<int32_t> ids,
                   std::span<float> weights) {
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
