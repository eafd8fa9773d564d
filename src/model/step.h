// Step: what one forward pass is asked to do. Rows are independent of each other but for attention,
// so a step may mix sequences and positions freely (chunked prefill, batches of unequal prompts,
// one token each). Not a schedule: runtime/ decides which tokens make a step.
#pragma once

#include <cstdint>
#include <span>

#include "expertile/moe_trace.h"

namespace expertile {

enum class StepKind {
  kPrefill,  // many tokens: the MoE layers run expert by expert (NSP-blocked or one after another)
  kDecode,   // a token or so per sequence: the MoE layers gather the K experts' weights
};

struct Step {
  StepKind kind = StepKind::kPrefill;
  std::span<const int32_t> token_ids;   // [T], 0 <= id < vocab_size
  std::span<const int32_t> sequences;   // [T], the row's sequence in the KV cache
  std::span<const int32_t> positions;   // [T], absolute, ascending within a sequence
  std::span<const int32_t> logit_rows;  // [R], the rows whose logits are wanted
  MoeTrace* trace = nullptr;            // may be null

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
};

}  // namespace expertile
