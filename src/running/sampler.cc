#include "running/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace expertile {
namespace {

Status CheckPenalties(const SamplingOptions& options) {
  const float repetition = options.repetition_penalty;
  if (!(repetition > 0.0f && std::isfinite(repetition))) {
    return InvalidArgument("repetition_penalty: {}, expected above 0", repetition);
  }
  if (!(std::abs(options.presence_penalty) <= 2.0f)) {
    return InvalidArgument("presence_penalty: {}, expected -2 to 2", options.presence_penalty);
  }
  if (!(std::abs(options.frequency_penalty) <= 2.0f)) {
    return InvalidArgument("frequency_penalty: {}, expected -2 to 2", options.frequency_penalty);
  }
  return {};
}

// The index of the largest, the first of equals. A NaN compares false with everything, so it is
// largest only where all are.
int32_t LargestOf(std::span<const float> logits) {
  int32_t best = 0;
  for (int32_t id = 1; id < static_cast<int32_t>(logits.size()); ++id) {
    const bool is_larger =
        logits[id] > logits[best] || (std::isnan(logits[best]) && !std::isnan(logits[id]));
    if (is_larger) best = id;
  }
  return best;
}

// The token ids with the top_k largest logits, and those that equal the last of them
// (transformers' TopKLogitsWarper); ordered by logit, equals by id.
std::vector<int32_t> RankedCandidates(std::span<const float> logits, int top_k) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < static_cast<int32_t>(logits.size()); ++id) {
    if (logits[id] > -INFINITY) ids.push_back(id);
  }
  const auto by_rank = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  if (top_k > 0 && static_cast<size_t>(top_k) < ids.size()) {
    std::nth_element(ids.begin(), ids.begin() + (top_k - 1), ids.end(), by_rank);
    const float smallest = logits[ids[top_k - 1]];
    std::erase_if(ids, [&](int32_t id) { return logits[id] < smallest; });
  }
  std::ranges::sort(ids, by_rank);
  return ids;
}

}  // namespace

Status CheckSampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0.0f && std::isfinite(options.temperature))) {
    return InvalidArgument("temperature: {}, expected 0 or more", options.temperature);
  }
  if (options.top_k < 0) return InvalidArgument("top_k: {}, expected 0 or more", options.top_k);
  if (!(options.top_p > 0.0f && options.top_p <= 1.0f)) {
    return InvalidArgument("top_p: {}, expected above 0 and at most 1", options.top_p);
  }
  if (!(options.min_p >= 0.0f && options.min_p <= 1.0f)) {
    return InvalidArgument("min_p: {}, expected 0 to 1", options.min_p);
  }
  return CheckPenalties(options);
}

Sampler::Sampler(const SamplingOptions& options, uint64_t stream) : options_(options) {
  std::seed_seq seed{options.seed, options.seed >> 32, stream};
  random_.seed(seed);
}

void Sampler::See(std::span<const int32_t> token_ids) {
  if (!has_penalties()) return;
  for (const int32_t id : token_ids) num_chosen_.try_emplace(id, 0);
}

bool Sampler::has_penalties() const {
  return options_.repetition_penalty != 1.0f || options_.presence_penalty != 0.0f ||
         options_.frequency_penalty != 0.0f;
}

// transformers' RepetitionPenaltyLogitsProcessor, then what the OpenAI API says of the others:
// logit - count * frequency_penalty - (count > 0) * presence_penalty.
std::vector<float> Sampler::Penalised(std::span<const float> logits) const {
  std::vector<float> penalised(logits.begin(), logits.end());
  for (const auto& [id, count] : num_chosen_) {
    if (id < 0 || static_cast<size_t>(id) >= penalised.size()) continue;
    float& logit = penalised[id];
    logit =
        logit < 0.0f ? logit * options_.repetition_penalty : logit / options_.repetition_penalty;
    if (count == 0) continue;
    logit -= static_cast<float>(count) * options_.frequency_penalty;
    logit -= options_.presence_penalty;
  }
  return penalised;
}

// The order of transformers: penalties, temperature, top_k, top_p, min_p.
Sampler::Distribution Sampler::DistributionOf(std::span<const float> logits) const {
  std::vector<float> penalised;
  if (!num_chosen_.empty()) {
    penalised = Penalised(logits);
    logits = penalised;
  }
  const int32_t best = LargestOf(logits);
  if (options_.temperature == 0.0f || !std::isfinite(logits[best])) return {{best}, {1.0}};

  Distribution kept{RankedCandidates(logits, options_.top_k), {}};
  for (const int32_t id : kept.token_ids) {
    const double gap = static_cast<double>(logits[id]) - logits[best];
    kept.probabilities.push_back(std::exp(gap / options_.temperature));
  }
  const double mass = std::accumulate(kept.probabilities.begin(), kept.probabilities.end(), 0.0);
  double kept_mass = 0.0;
  size_t count = 0;
  while (count < kept.token_ids.size() && (count == 0 || kept_mass < mass * options_.top_p) &&
         kept.probabilities[count] >= options_.min_p) {
    kept_mass += kept.probabilities[count++];
  }
  kept.token_ids.resize(count);
  kept.probabilities.resize(count);
  for (double& probability : kept.probabilities) probability /= kept_mass;
  return kept;
}

int32_t Sampler::Choose(std::span<const float> logits) {
  const Distribution distribution = DistributionOf(logits);
  int32_t chosen = distribution.token_ids.front();
  if (distribution.token_ids.size() > 1) {
    // 53 random bits: a double in [0,1).
    double point = static_cast<double>(random_() >> 11) * 0x1p-53;
    for (size_t i = 0; i < distribution.token_ids.size(); ++i) {
      point -= distribution.probabilities[i];
      if (point >= 0.0) continue;
      chosen = distribution.token_ids[i];
      break;
    }
  }
  if (has_penalties()) ++num_chosen_[chosen];
  return chosen;
}

}  // namespace expertile
