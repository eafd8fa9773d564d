// Generating text: sampling, stopping, statistics.
// Not the forward pass (model.h).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "expertile/model.h"
#include "expertile/result.h"

namespace expertile {

struct SamplingOptions {
  float temperature = 0.0f;  // 0 = greedy: the most probable token, ties to the lower id
  int top_k = 0;             // keep the k most probable; 0 = all
  float top_p = 1.0f;        // keep the most probable that together reach p, in (0,1]
  float min_p = 0.0f;        // keep those at least min_p times as probable as the best, in [0,1)
  uint64_t seed = 0;
};

struct GenerationOptions {
  int64_t max_new_tokens = 128;  // also ends where the context is full
  SamplingOptions sampling;
  std::vector<int32_t> end_token_ids;  // ends a sequence; the token itself is not reported
};

struct GenerationStatistics {
  int64_t prompt_tokens = 0;  // over all sequences
  int64_t new_tokens = 0;
  double prefill_seconds = 0.0;
  double decode_seconds = 0.0;  // of all tokens after the first
};

struct Generated {
  std::vector<std::vector<int32_t>> token_ids;  // [num_prompts][new tokens]
  GenerationStatistics statistics;
};

// Receives each new token as it is made; false ends that sequence.
using OnToken = std::function<bool(size_t prompt, int32_t token_id)>;

Status CheckSampling(const SamplingOptions& sampling);

// What to continue: a prompt, and the images of its image tokens.
struct Prompt {
  std::span<const int32_t> token_ids;
  std::span<const EncodedImage> images = {};
};

// Continues each prompt (at most batch_size of them, none empty) on sequences 0, 1, … of `session`,
// which must be empty.
Result<Generated> Generate(Session& session, std::span<const Prompt> prompts,
                           const GenerationOptions& options, const OnToken& on_token = nullptr);

}  // namespace expertile
