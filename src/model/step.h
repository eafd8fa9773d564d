// Step: what one forward pass is asked to do. Rows are independent of each other but for attention,
// so a step may mix sequences and positions freely: chunks of prompts of some, one token of others.
// How a target does its work follows from the rows. Not a schedule: running/ decides which tokens
// make a step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "expertile/moe_trace.h"
#include "expertile/progress.h"
#include "model/finite_rows.h"

namespace expertile {

// Positions of a sequence lie in blocks of this many, anywhere in a session's pool of blocks.
inline constexpr int64_t kKvBlockSize = 64;

// The blocks of one sequence: position p is number p % kKvBlockSize of block p / kKvBlockSize.
using BlockTable = std::span<const int32_t>;

// The rows of a step that are image tokens, and what the vision tower made for them.
struct ImageRows {
  std::span<const int32_t> rows;                  // [M], ascending
  std::span<const float> embeddings;              // [M,H], in the place of token embeddings
  std::vector<std::span<const float>> deepstack;  // [features] of [M,H]: i is added after layer i
};

// Whether a step is to stop. Once it is, it stays so.
class StepCancellation {
 public:
  explicit StepCancellation(const IsCancelled& is_cancelled) : is_cancelled_(is_cancelled) {}
  bool Ask() { return was_cancelled_ = was_cancelled_ || (is_cancelled_ && is_cancelled_()); }
  bool was_cancelled() const { return was_cancelled_; }

 private:
  const IsCancelled& is_cancelled_;
  bool was_cancelled_ = false;
};

struct Step {
  std::span<const int32_t> token_ids;        // [T], 0 <= id < vocab_size
  std::span<const int32_t> sequences;        // [T], the row's sequence: an index of block_tables
  std::span<const int32_t> positions;        // [T], absolute, ascending within a sequence
  std::span<const int32_t> rope_positions;   // [A,T], what RoPE turns by; A = RopeSpec::num_axes
  std::span<const BlockTable> block_tables;  // [S], with a block for every position of the step
  std::span<const int32_t> logit_rows;       // [R], the rows whose logits are wanted
  ImageRows images;
  MoeTrace* trace = nullptr;                 // may be null
  FiniteRows* finite = nullptr;              // of a step repeated to find a fault; else null
  StepCancellation* cancellation = nullptr;  // may be null; asked before every layer

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
  bool GoesOn() const { return cancellation == nullptr || !cancellation->Ask(); }
};

}  // namespace expertile
