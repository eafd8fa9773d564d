#include "targets/cpu/attention_plan.h"

#include "targets/cpu/gemm.h"

namespace expertile::cpu {
namespace {

// Pieces for each worker, so that the last ones to end are not long alone.
constexpr int64_t kPiecesPerWorker = 4;

// What a pair costs beside its keys, in keys: packing, merging, storing.
constexpr double kPairCost = 16;

// The rows [begin, end) of one sequence.
struct Run {
  int64_t begin;
  int64_t end;
};

double CostOf(const AttentionRows& rows, int64_t row) {
  const KeySpan keys = KeysSeen(rows.positions[row], rows.window);
  return static_cast<double>(keys.end - keys.begin) + kPairCost;
}

// Of pairs of a run that share a kv head.
double CostOf(const AttentionRows& rows, int64_t first_row, int64_t group, Range pairs) {
  double cost = 0.0;
  for (int64_t pair = pairs.begin; pair < pairs.end;) {
    const int64_t row = pair / group;
    const int64_t next = std::min(pairs.end, (row + 1) * group);
    cost += static_cast<double>(next - pair) * CostOf(rows, first_row + row);
    pair = next;
  }
  return cost;
}

std::vector<Run> RunsOf(const AttentionRows& rows) {
  std::vector<Run> runs;
  const auto num_rows = static_cast<int64_t>(rows.sequences.size());
  for (int64_t first = 0, last = 0; first < num_rows; first = last) {
    while (last < num_rows && rows.sequences[last] == rows.sequences[first]) ++last;
    runs.push_back({first, last});
  }
  return runs;
}

// Cuts a piece of one tile into runs of its segments.
void SplitBySegments(const AttentionPiece& whole, double limit, AttentionPlan& plan) {
  const int64_t num_segments = whole.end_segment - whole.first_segment;
  const auto num_pieces = std::min(num_segments, static_cast<int64_t>(whole.cost / limit) + 1);
  const RowTiles split(num_segments, static_cast<int>(CeilDiv(num_segments, num_pieces)));
  plan.merges.push_back(whole);
  plan.merges.back().first_part = plan.num_parts;
  for (int64_t i = 0; i < split.num_tiles(); ++i) {
    AttentionPiece piece = whole;
    piece.first_segment = whole.first_segment + split.Begin(i);
    piece.end_segment = piece.first_segment + split.Size(i);
    piece.first_part = plan.num_parts + split.Begin(i);
    piece.cost = whole.cost * split.Size(i) / static_cast<double>(num_segments);
    plan.pieces.push_back(piece);
  }
  plan.num_parts += num_segments;
}

// The pieces of a run, no dearer than `limit` where they can be cut; 0 = no limit.
void AddRun(const AttentionRows& rows, const AttentionShape& shape, Run run, double limit,
            bool may_split, AttentionPlan& plan) {
  const int64_t num_pairs = (run.end - run.begin) * shape.group;
  int64_t num_pieces = CeilDiv(num_pairs, kMaxPiecePairs);
  if (limit > 0.0) {
    const double cost = CostOf(rows, run.begin, shape.group, {0, num_pairs});
    const auto wanted = static_cast<int64_t>(std::min(cost / limit, 1e9)) + 1;
    const int64_t num_tiles = CeilDiv(num_pairs, shape.max_tile_pairs);
    num_pieces = std::max(num_pieces, std::min(wanted, num_tiles));
  }
  const RowTiles split(num_pairs, static_cast<int>(CeilDiv(num_pairs, num_pieces)));
  for (int64_t i = 0; i < split.num_tiles(); ++i) {
    const Range pairs = {split.Begin(i), split.Begin(i) + split.Size(i)};
    const double cost = CostOf(rows, run.begin, shape.group, pairs);
    const int64_t first_row = run.begin + pairs.begin / shape.group;
    const int64_t last_row = run.begin + (pairs.end - 1) / shape.group;
    const int64_t begin = KeysSeen(rows.positions[first_row], rows.window).begin;
    const int64_t end = KeysSeen(rows.positions[last_row], rows.window).end;
    for (int kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
      const AttentionPiece piece = {kv_head,
                                    run.begin,
                                    pairs.begin,
                                    split.Size(i),
                                    begin / kSegmentSize,
                                    CeilDiv(end, kSegmentSize),
                                    /*first_part=*/-1,
                                    cost};
      const bool can_split = may_split && split.Size(i) <= shape.max_tile_pairs &&
                             piece.end_segment - piece.first_segment > 1;
      if (limit > 0.0 && cost > limit && can_split) {
        SplitBySegments(piece, limit, plan);
      } else {
        plan.pieces.push_back(piece);
      }
    }
  }
}

}  // namespace

void AttentionPlan::Make(const AttentionRows& rows, const AttentionShape& shape, bool may_split) {
  pieces.clear();
  merges.clear();
  num_parts = 0;
  const std::vector<Run> runs = RunsOf(rows);
  double limit = 0.0;
  if (shape.num_workers > 1) {
    for (const Run& run : runs) {
      limit += CostOf(rows, run.begin, shape.group, {0, (run.end - run.begin) * shape.group});
    }
    limit *= static_cast<double>(shape.num_kv_heads) / (shape.num_workers * kPiecesPerWorker);
  }
  for (const Run& run : runs) AddRun(rows, shape, run, limit, may_split, *this);
  std::ranges::stable_sort(pieces, std::ranges::greater(), &AttentionPiece::cost);
}

}  // namespace expertile::cpu
