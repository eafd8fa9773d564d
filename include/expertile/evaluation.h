// How well a model predicts a text: mean negative log-likelihood and perplexity.
// Not for judging generated text.
#pragma once

#include <cstdint>
#include <span>

#include "expertile/model.h"
#include "expertile/progress.h"
#include "expertile/result.h"

namespace expertile {

struct Evaluation {
  int64_t tokens = 0;
  int64_t scored_tokens = 0;  // all but the first of each window
  double mean_nll = 0.0;      // nats per scored token
  double tokens_per_second = 0.0;
};

// Scores `token_ids` on sequence 0 of `session`, in windows of ctx_len tokens that do not overlap.
// Every token but a window's first is scored by log-softmax in float64 of the logits at the token
// before it. Refuses fewer than two tokens, and a ctx_len of 1: nothing would be scored.
Result<Evaluation> Evaluate(Session& session, std::span<const int32_t> token_ids,
                            const OnProgress& on_progress = nullptr);

}  // namespace expertile
