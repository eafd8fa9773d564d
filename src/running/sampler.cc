#include "running/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace expertile {

Status CheckSampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0.0f && std::isfinite(options.temperature))) {
    return InvalidArgument("temperature: {}, expected 0 or more", options.temperature);
  }
  if (options.top_k < 0) return InvalidArgument("top_k: {}, expected 0 or more", options.top_k);
  if (!(options.top_p > 0.0f && options.top_p <= 1.0f)) {
    return InvalidArgument("top_p: {}, expected above 0 and at most 1", options.top_p);
  }
  if (!(options.min_p >= 0.0f && options.min_p < 1.0f)) {
    return InvalidArgument("min_p: {}, expected 0 or more and below 1", options.min_p);
  }
  return {};
}

Sampler::Sampler(const SamplingOptions& options, uint64_t stream) : options_(options) {
  std::seed_seq seed{options.seed, options.seed >> 32, stream};
  random_.seed(seed);
}

int32_t Sampler::Choose(std::span<const float> logits) {
  // NaN compares false with everything, so it never becomes the larger one.
  const auto larger = [&](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (std::isnan(logits[b]) && !std::isnan(logits[a]));
  };
  int32_t best = 0;
  for (int32_t id = 1; id < static_cast<int32_t>(logits.size()); ++id) {
    if (larger(id, best)) best = id;
  }
  if (options_.temperature == 0.0f || std::isnan(logits[best])) return best;

  candidates_.clear();
  for (int32_t id = 0; id < static_cast<int32_t>(logits.size()); ++id) {
    const double gap = (logits[id] - logits[best]) / options_.temperature;
    if (std::exp(gap) >= options_.min_p && logits[id] > -INFINITY) candidates_.push_back(id);
  }
  const auto by_rank = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  const size_t kept = options_.top_k > 0 ? std::min<size_t>(options_.top_k, candidates_.size())
                                         : candidates_.size();
  std::partial_sort(candidates_.begin(), candidates_.begin() + kept, candidates_.end(), by_rank);
  candidates_.resize(kept);

  probabilities_.clear();
  for (const int32_t id : candidates_) {
    probabilities_.push_back(std::exp((logits[id] - logits[best]) / options_.temperature));
  }
  double total = std::accumulate(probabilities_.begin(), probabilities_.end(), 0.0);
  const double wanted = total * options_.top_p;
  double kept_mass = 0.0;
  size_t count = 0;
  while (count < candidates_.size() && kept_mass < wanted) kept_mass += probabilities_[count++];

  // 53 random bits: a double in [0,1).
  double point = static_cast<double>(random_() >> 11) * 0x1p-53 * kept_mass;
  for (size_t i = 0; i < count; ++i) {
    point -= probabilities_[i];
    if (point < 0.0) return candidates_[i];
  }
  return best;
}

}  // namespace expertile
