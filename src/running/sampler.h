// Choosing the next token from logits.
// Not the loop that feeds it back (generate.cc).
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "expertile/generation.h"

namespace expertile {

class Sampler {
 public:
  // Samplers with the same options and stream draw the same tokens from the same logits.
  Sampler(const SamplingOptions& options, uint64_t stream);

  // `logits` [V], not empty. A NaN is never chosen over a number.
  int32_t Choose(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
  std::vector<int32_t> candidates_;    // ids, most probable first
  std::vector<double> probabilities_;  // of candidates_, not normalised: the first is 1
};

}  // namespace expertile
