#include "running/sequences.h"

#include <utility>

#include "base/error.h"

namespace expertile {
namespace {

int64_t NumBlocks(int64_t num_positions) {
  return (num_positions + kKvBlockSize - 1) / kKvBlockSize;
}

}  // namespace

Sequences::Sequences(int64_t batch_size, int64_t ctx_len) : pool_(batch_size * NumBlocks(ctx_len)) {
  for (int64_t i = 0; i < batch_size; ++i) sequences_[i];
}

int64_t Sequences::Add() {
  int64_t number = 0;
  while (sequences_.contains(number)) ++number;
  sequences_[number];
  return number;
}

Status Sequences::Check(int64_t sequence) const {
  if (sequences_.contains(sequence)) return {};
  return InvalidArgument("sequence {}: there is no such sequence, there are {}", sequence,
                         sequences_.size());
}

Status Sequences::Drop(int64_t sequence) {
  EXPERTILE_RETURN_IF_ERROR(Truncate(sequence, 0));
  sequences_.erase(sequence);
  return {};
}

Status Sequences::Truncate(int64_t sequence, int64_t length) {
  EXPERTILE_RETURN_IF_ERROR(Check(sequence));
  Sequence& truncated = sequences_.at(sequence);
  const auto held = static_cast<int64_t>(truncated.next_deltas.size());
  if (length < 0 || length > held) {
    return InvalidArgument("sequence {}: truncated to {} tokens, it holds {}", sequence, length,
                           held);
  }
  if (length == held) return {};
  if (length > 0 && truncated.next_deltas[length - 1] == kNoDelta) {
    return InvalidArgument(
        "sequence {}: truncated to {} tokens, inside an image, or in what a KV cache file of "
        "version 1 held",
        sequence, length);
  }
  truncated.next_deltas.resize(length);
  Trim(sequence);
  return {};
}

Result<int64_t> Sequences::Fork(int64_t sequence) {
  EXPERTILE_RETURN_IF_ERROR(Check(sequence));
  const Sequence& origin = At(sequence);
  for (const int32_t block : origin.blocks) pool_.Hold(block);
  const int64_t fork = Add();
  sequences_.at(fork) = origin;
  return fork;
}

int64_t Sequences::length(int64_t sequence) const {
  return static_cast<int64_t>(At(sequence).next_deltas.size());
}

int32_t Sequences::rope_delta(int64_t sequence) const {
  const std::vector<int32_t>& deltas = At(sequence).next_deltas;
  return deltas.empty() ? 0 : deltas.back();
}

BlockTable Sequences::blocks(int64_t sequence) const { return At(sequence).blocks; }

int32_t* Sequences::PartialBlockOf(Sequence& sequence) {
  const size_t length = sequence.next_deltas.size();
  return length % kKvBlockSize == 0 ? nullptr : &sequence.blocks[length / kKvBlockSize];
}

// New ones, and copies of partial blocks that others hold, too: the last holder needs none.
int64_t Sequences::BlocksNeeded(std::span<const Growth> growths) {
  int64_t needed = 0;
  std::map<int32_t, int32_t> num_writers;  // of partial blocks
  for (const Growth& growth : growths) {
    Sequence& sequence = sequences_.at(growth.sequence);
    needed += NumBlocks(length(growth.sequence) + growth.count) -
              static_cast<int64_t>(sequence.blocks.size());
    const int32_t* partial = PartialBlockOf(sequence);
    if (partial != nullptr && ++num_writers[*partial] < pool_.num_holders(*partial)) ++needed;
  }
  return needed;
}

Result<std::vector<BlockCopy>> Sequences::Reserve(std::span<const Growth> growths) {
  const int64_t needed = BlocksNeeded(growths);
  if (needed > pool_.num_free()) {
    return Fail(ErrorCode::kOutOfMemory,
                "KV cache: {} blocks of {} positions are needed, {} of {} are free", needed,
                kKvBlockSize, pool_.num_free(), pool_.num_blocks());
  }
  std::vector<BlockCopy> copies;
  for (const Growth& growth : growths) {
    Sequence& sequence = sequences_.at(growth.sequence);
    int32_t* partial = PartialBlockOf(sequence);
    if (partial != nullptr && pool_.num_holders(*partial) > 1) {
      pool_.Release(*partial);
      copies.push_back({*partial, pool_.Take()});
      *partial = copies.back().to;
    }
    const int64_t num_blocks = NumBlocks(length(growth.sequence) + growth.count);
    while (static_cast<int64_t>(sequence.blocks.size()) < num_blocks) {
      sequence.blocks.push_back(pool_.Take());
    }
  }
  return copies;
}

void Sequences::Append(int64_t sequence, std::span<const int32_t> next_deltas) {
  std::vector<int32_t>& deltas = sequences_.at(sequence).next_deltas;
  deltas.insert(deltas.end(), next_deltas.begin(), next_deltas.end());
}

void Sequences::Trim(int64_t sequence) {
  Sequence& trimmed = sequences_.at(sequence);
  const auto kept = static_cast<size_t>(NumBlocks(length(sequence)));
  for (; trimmed.blocks.size() > kept; trimmed.blocks.pop_back()) {
    pool_.Release(trimmed.blocks.back());
  }
}

}  // namespace expertile
