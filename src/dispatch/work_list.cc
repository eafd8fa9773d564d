#include "dispatch/work_list.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <tuple>
#include <utility>

namespace expertile {
namespace {

// Costs are in 512ths of a row's arithmetic.
constexpr int64_t kRowCost = 512;

// A part of the columns gathers its rows again: memory, as weights are.
int64_t GatherCost(const WorkShape& shape, int64_t num_rows) {
  return shape.cut.weights_rows * num_rows / 8;
}

int64_t CeilDivide(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// One way to cut a layer. The smallest experts are cut by columns, the others by rows: what an
// expert and all smaller ones cost is shared by row_pieces pieces a worker, so that the pieces that
// come last, which decide how even the end is, are the finest.
struct Cut {
  int64_t column_quarters = 0;  // of the layer's cost, by columns
  int64_t column_pieces = 0;    // a worker's, were everything cut by columns
  int64_t row_pieces = 0;       // 0: no cut but at max_rows
};

// Coarse to fine.
constexpr Cut kCuts[] = {{4, 3, 0},  {4, 6, 0},  {4, 12, 0}, {0, 0, 1},  {0, 0, 2},
                         {1, 12, 1}, {2, 12, 1}, {1, 12, 2}, {2, 12, 2}, {0, 0, 3},
                         {0, 0, 4},  {0, 0, 6},  {0, 0, 8}};

// An expert's rows in the fewest pieces of at most max_rows, of even size, on tiles where they can.
int64_t RowsOfPiece(int64_t num_rows, int64_t max_rows, int64_t tile_rows) {
  const int64_t even = CeilDivide(num_rows, CeilDivide(num_rows, max_rows));
  const int64_t on_tiles = CeilDivide(even, tile_rows) * tile_rows;
  return std::min({on_tiles, max_rows, num_rows});
}

class Builder {
 public:
  Builder(const MatchedIndex& matched, const Placement& placement, const WorkShape& shape)
      : matched_(matched), placement_(placement), shape_(shape), rest_(placement.num_experts()) {
    std::vector<int> order(rest_.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, {}, [&](int expert) { return matched.Of(expert).size(); });
    int64_t total_rows = 0;
    for (const int expert : order) {
      const auto num_rows = static_cast<int64_t>(matched.Of(expert).size());
      if (num_rows > 0) total_ += CostOf(num_rows);
      total_rows += num_rows;
      rest_[expert] = {total_, total_rows};
    }
  }

  void Build(const Cut& cut, WorkList& list) const {
    list.pieces.clear();
    list.remaining.clear();
    list.group_parts.clear();
    list.num_group_rows = 0;
    list.nsp_offsets.assign(1, 0);
    for (int nsp = 0; nsp < placement_.num_nsp(); ++nsp) {
      for (int expert = nsp; expert < placement_.num_experts(); expert += placement_.num_nsp()) {
        AddExpert(expert, cut, list);
      }
      FinishNsp(list);
    }
  }

 private:
  // Of rows of one expert, its weights being read for them.
  int64_t CostOf(int64_t num_rows) const { return kRowCost * (shape_.cut.weights_rows + num_rows); }

  void AddExpert(int expert, const Cut& cut, WorkList& list) const {
    const int32_t end = matched_.offsets[expert + 1];
    const int64_t num_rows = end - matched_.offsets[expert];
    if (num_rows == 0) return;
    const bool is_by_columns = rest_[expert].rows <= shape_.cut.max_group_rows &&
                               rest_[expert].cost * 4 <= total_ * cut.column_quarters;
    int64_t max_rows = std::min(shape_.max_rows, num_rows);
    if (!is_by_columns && cut.row_pieces > 0) {
      const int64_t share = rest_[expert].cost / (cut.row_pieces * shape_.num_workers);
      max_rows = std::min(max_rows, std::max(share / kRowCost, shape_.cut.tile_rows));
    }
    const auto step = static_cast<int32_t>(RowsOfPiece(num_rows, max_rows, shape_.cut.tile_rows));
    WorkPiece piece{
        WorkPiece::Stage::kWhole, expert, placement_.NspOf(expert), 0, 0, -1, 0, 0, 1, 0};
    for (int32_t begin = matched_.offsets[expert]; begin < end; begin = piece.end) {
      piece.begin = begin;
      piece.end = end - begin > step ? begin + step : end;
      piece.cost = CostOf(piece.end - piece.begin);
      if (is_by_columns) {
        AddParts(piece, CeilDivide(total_, cut.column_pieces * shape_.num_workers), list);
      } else {
        list.pieces.push_back(piece);
      }
    }
  }

  // Two thirds of an expert's weights are gate and up, one is down.
  void AddParts(const WorkPiece& whole, int64_t part_cost, WorkList& list) const {
    using Stage = WorkPiece::Stage;
    WorkPiece piece = whole;
    piece.group = static_cast<int32_t>(list.group_parts.size());
    piece.group_begin = list.num_group_rows;
    list.num_group_rows += whole.end - whole.begin;
    for (const Stage stage : {Stage::kGateUp, Stage::kDown}) {
      const int64_t cost = whole.cost * (stage == Stage::kGateUp ? 2 : 1) / 3;
      piece.stage = stage;
      piece.num_parts = NumParts(CeilDivide(cost, part_cost));
      const auto column = [&](int64_t part) {
        return part * shape_.cut.max_parts / piece.num_parts;
      };
      for (piece.part = 0; piece.part < piece.num_parts; ++piece.part) {
        piece.cost = cost * (column(piece.part + 1) - column(piece.part)) / shape_.cut.max_parts +
                     GatherCost(shape_, whole.end - whole.begin);
        list.pieces.push_back(piece);
      }
      if (stage == Stage::kGateUp) list.group_parts.push_back(piece.num_parts);
    }
  }

  // One for each worker, or a multiple of that, where it is about so many.
  int32_t NumParts(int64_t wanted) const {
    if (2 * wanted > shape_.num_workers) {
      wanted = CeilDivide(wanted, shape_.num_workers) * shape_.num_workers;
    }
    return static_cast<int32_t>(std::clamp<int64_t>(wanted, 1, shape_.cut.max_parts));
  }

  // Puts the pieces since the last NSP's in order.
  static void FinishNsp(WorkList& list) {
    const auto own = list.pieces.begin() + list.nsp_offsets.back();
    std::sort(own, list.pieces.end(), [](const WorkPiece& a, const WorkPiece& b) {
      return std::tuple(a.stage, -a.cost, a.begin, a.part) <
             std::tuple(b.stage, -b.cost, b.begin, b.part);
    });
    int64_t remaining =
        std::accumulate(own, list.pieces.end(), int64_t{0},
                        [](int64_t sum, const WorkPiece& piece) { return sum + piece.cost; });
    for (auto piece = own; piece != list.pieces.end(); ++piece) {
      list.remaining.push_back(remaining);
      remaining -= piece->cost;
    }
    list.remaining.push_back(0);
    list.nsp_offsets.push_back(static_cast<int32_t>(list.pieces.size()));
  }

  const MatchedIndex& matched_;
  const Placement& placement_;
  const WorkShape& shape_;
  struct Rest {
    int64_t cost;
    int64_t rows;
  };
  std::vector<Rest> rest_;  // [E], of an expert and all that have fewer rows
  int64_t total_ = 0;
};

// A piece's time differs from its cost by some part, of a memory that others read, too: stealing
// evens that out but for the last pieces.
int64_t PredictedTime(const WorkList& list, std::vector<PlayedWork>& workers) {
  constexpr int64_t kUnsureParts = 4;
  PlayWorkList(list, workers);
  int64_t latest = 0;
  for (const PlayedWork& work : workers) {
    latest = std::max(latest, work.cost + work.last_piece / kUnsureParts);
  }
  return latest;
}

}  // namespace

void PlayWorkList(const WorkList& list, std::span<PlayedWork> workers) {
  const auto num_workers = static_cast<int>(workers.size());
  using Free = std::pair<int64_t, int>;  // when, who
  std::priority_queue<Free, std::vector<Free>, std::greater<>> free;
  for (int worker = 0; worker < num_workers; ++worker) free.emplace(0, worker);
  std::vector<int32_t> claimed(list.num_nsp(), 0);
  std::ranges::fill(workers, PlayedWork{});
  for (size_t i = 0; i < list.pieces.size(); ++i) {
    const int worker = free.top().second;
    free.pop();
    const int nsp =
        ChooseNsp(list, worker, num_workers, [&](int candidate) { return claimed[candidate]; });
    const int64_t cost = list.Piece(nsp, claimed[nsp]++).cost;
    workers[worker] = {workers[worker].cost + cost, cost};
    free.emplace(workers[worker].cost, worker);
  }
}

void BuildWorkList(const MatchedIndex& matched, const Placement& placement, const WorkShape& shape,
                   WorkList& list) {
  const Builder builder(matched, placement, shape);
  Cut best;
  builder.Build(best, list);
  if (shape.num_workers == 1 || list.pieces.empty()) return;
  std::vector<PlayedWork> workers(shape.num_workers);
  int64_t best_time = PredictedTime(list, workers);
  // Of the work as it is when only max_rows cuts it.
  const int64_t even_time = CeilDivide(list.TotalCost(), shape.num_workers);
  const auto num_rows = static_cast<int64_t>(matched.assignments.size());
  bool is_built = true;
  for (const Cut& cut : kCuts) {
    if (best_time * 25 <= even_time * 26) break;
    if (cut.column_quarters == 4 && num_rows > shape.cut.max_group_rows) continue;
    builder.Build(cut, list);
    const int64_t time = PredictedTime(list, workers);
    is_built = time * 50 < best_time * 49;
    if (is_built) std::tie(best, best_time) = std::pair(cut, time);
  }
  if (!is_built) builder.Build(best, list);
}

}  // namespace expertile
