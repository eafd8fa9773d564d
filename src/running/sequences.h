// Sequences: a session's sequences over one pool of blocks. A sequence is extended, truncated and
// forked; a fork shares blocks with its origin until one of the two writes to them.
// Not what the blocks hold, nor the steps that fill them (session.cc).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "expertile/result.h"
#include "model/step.h"
#include "running/block_pool.h"

namespace expertile {

// A block that must be copied before its copy is written to.
struct BlockCopy {
  int32_t from;
  int32_t to;
};

class Sequences {
 public:
  // Sequences 0 to batch_size - 1 exist, empty; the pool has blocks for each to reach ctx_len.
  Sequences(int64_t batch_size, int64_t ctx_len);

  // A new, empty sequence; its number is the lowest that is free.
  int64_t Add();
  // All of these: errors, which change nothing, for a sequence that there is not.
  Status Drop(int64_t sequence);
  Status Check(int64_t sequence) const;
  // Forgets all positions from `length` on. Errors: a length above the sequence's, or one after
  // which RoPE's position is not known.
  Status Truncate(int64_t sequence, int64_t length);
  // A new sequence that holds what `sequence` does.
  Result<int64_t> Fork(int64_t sequence);

  int64_t length(int64_t sequence) const;
  // RoPE's position of the sequence's next token, less its index.
  int32_t rope_delta(int64_t sequence) const;
  BlockTable blocks(int64_t sequence) const;
  // [length], as Append() got them.
  std::span<const int32_t> next_deltas(int64_t sequence) const { return At(sequence).next_deltas; }

  struct Growth {
    int64_t sequence;
    int64_t count;  // positions after its length that are about to be written
  };
  // Blocks for all of these. The copies are to be made before a position is written. Errors, which
  // change nothing: the pool has too few free blocks.
  Result<std::vector<BlockCopy>> Reserve(std::span<const Growth> growths);
  // Positions after its length have been written. next_deltas: for each, rope_delta() of a sequence
  // that ends with it, or kNoDelta.
  void Append(int64_t sequence, std::span<const int32_t> next_deltas);
  // Gives back blocks that were reserved and are not needed.
  void Trim(int64_t sequence);

  // Of a position inside an image, or in a file that does not say. A delta is at most 0.
  static constexpr int32_t kNoDelta = 1;

 private:
  struct Sequence {
    std::vector<int32_t> blocks;
    std::vector<int32_t> next_deltas;  // [length]
  };

  // The block that the sequence's next position goes to, if it is there and begun; null otherwise.
  static int32_t* PartialBlockOf(Sequence& sequence);
  int64_t BlocksNeeded(std::span<const Growth> growths);
  const Sequence& At(int64_t sequence) const { return sequences_.at(sequence); }

  BlockPool pool_;
  std::map<int64_t, Sequence> sequences_;
};

}  // namespace expertile
