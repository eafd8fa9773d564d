// Choosing the next token from logits.
// Not the loop that feeds it back (generate.cc).
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include "expertile/generation.h"

namespace expertile {

class Sampler {
 public:
  // Samplers with the same options and stream draw the same tokens from the same logits.
  Sampler(const SamplingOptions& options, uint64_t stream);

  // Tokens before the first chosen one: repetition_penalty counts them.
  void See(std::span<const int32_t> token_ids);

  // `logits` [V], not empty. A NaN is never chosen over a number.
  int32_t Choose(std::span<const float> logits);

  // What Choose() draws from: token ids, most probable first, and their probabilities, which add
  // up to 1. One token when sampling is greedy.
  struct Distribution {
    std::vector<int32_t> token_ids;
    std::vector<double> probabilities;
  };
  Distribution DistributionOf(std::span<const float> logits) const;

 private:
  bool has_penalties() const;
  std::vector<float> Penalised(std::span<const float> logits) const;

  SamplingOptions options_;
  std::mt19937_64 random_;
  std::unordered_map<int32_t, int> num_chosen_;  // of every token seen; 0 for one of the prompt
};

}  // namespace expertile
