// How a step's attention is shared out: pieces of (row, head) pairs, and of segments of keys where
// there are too few of them. Results do not depend on it. Not the arithmetic: attention.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace expertile::cpu {

// A row's softmax runs over segments of this many keys, which begin at its multiples: each has its
// own largest score, sum and weighted values, and is merged into what came before it. So a
// segment's part of a row depends on its keys and the row alone, whoever computes it.
inline constexpr int64_t kSegmentSize = 256;

// Keys [begin, end) of a sequence.
struct KeySpan {
  int64_t begin;
  int64_t end;
};

// What a query at `position` sees; window 0 = all before it.
inline KeySpan KeysSeen(int64_t position, int64_t window) {
  const int64_t end = position + 1;
  return {window == 0 ? 0 : std::max<int64_t>(0, end - window), end};
}

struct AttentionRows {
  std::span<const int32_t> sequences;  // [T]; rows of a sequence side by side
  std::span<const int32_t> positions;  // [T], not falling within a sequence
  int64_t window;                      // 0 = none
};

// Heads, and how many share a kv head; pairs of one tile kernel; threads.
struct AttentionShape {
  int num_kv_heads;
  int64_t group;
  int max_tile_pairs;
  int num_workers;
};

// Pairs [first_pair, first_pair + num_pairs) of the rows from first_row on, all of one sequence:
// pair p is row p / group, head p % group of those that share kv_head. They attend to segments
// [first_segment, end_segment). A piece of whole rows has no parts; else it is one tile, and
// segment s leaves its part of them at number first_part + s - first_segment.
struct AttentionPiece {
  int kv_head;
  int64_t first_row;
  int64_t first_pair;
  int64_t num_pairs;
  int64_t first_segment;
  int64_t end_segment;
  int64_t first_part;  // -1: whole
  double cost;
};

struct AttentionPlan {
  std::vector<AttentionPiece> pieces;  // the dearest first
  std::vector<AttentionPiece> merges;  // of rows in parts: all their segments
  int64_t num_parts = 0;

  // Lists the pieces anew. Without `may_split` all are of whole rows.
  void Make(const AttentionRows& rows, const AttentionShape& shape, bool may_split);
};

// The most pairs of a piece: enough to share a segment's expanded panels, few enough to stay in the
// second-level cache with them. A multiple of all kernels' tiles.
inline constexpr int64_t kMaxPiecePairs = 252;

}  // namespace expertile::cpu
