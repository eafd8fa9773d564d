// Step: what one forward pass is asked to do. Rows are independent of each other but for attention,
// so a step may mix sequences and positions freely (chunked prefill, batches of unequal prompts,
// one token each). Not a schedule: running/ decides which tokens make a step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "expertile/moe_trace.h"
#include "model/finite_rows.h"

namespace expertile {

enum class StepKind {
  kPrefill,  // many tokens: the MoE layers run expert by expert (NSP-blocked or one after another)
  kDecode,   // a token or so per sequence: the MoE layers gather the K experts' weights
};

// The rows of a step that are image tokens, and what the vision tower made for them.
struct ImageRows {
  std::span<const int32_t> rows;              // [M], ascending
  std::span<const float> embeddings;          // [M,H], in the place of token embeddings
  std::vector<std::vector<float>> deepstack;  // [features] of [M,H]: i is added after layer i
};

struct Step {
  StepKind kind = StepKind::kPrefill;
  std::span<const int32_t> token_ids;       // [T], 0 <= id < vocab_size
  std::span<const int32_t> sequences;       // [T], the row's sequence in the KV cache
  std::span<const int32_t> positions;       // [T], absolute, ascending within a sequence
  std::span<const int32_t> rope_positions;  // [A,T], what RoPE turns by; A = RopeSpec::num_axes
  std::span<const int32_t> logit_rows;      // [R], the rows whose logits are wanted
  ImageRows images;
  MoeTrace* trace = nullptr;     // may be null
  FiniteRows* finite = nullptr;  // of a step repeated to find a fault; else null

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
};

}  // namespace expertile
