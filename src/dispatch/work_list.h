// WorkList: how a MoE layer is shared by the workers of a CPU. Each NSP's work as pieces, the
// dearest first, and whose piece a free worker takes next. Not threads: claiming is the target's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dispatch/matched_index.h"
#include "dispatch/placement.h"
#include "expertile/dispatch.h"

namespace expertile {

// What one worker does in one go, for rows [begin, end) of MatchedIndex::assignments, all of one
// expert: everything, or a part of the columns of the gate and up products or of the down product.
struct WorkPiece {
  enum class Stage : int8_t { kGateUp, kWhole, kDown };

  Stage stage;
  int32_t expert;
  int32_t nsp;
  int32_t begin;
  int32_t end;
  int32_t group;        // of the column parts that share rows [begin, end); -1 for kWhole
  int32_t group_begin;  // its first row among the rows of all groups
  int32_t part;         // of num_parts even parts of the columns; 0 of 1 for kWhole
  int32_t num_parts;
  int64_t cost;
};

struct WorkList {
  // NSP by NSP; in each kGateUp, kWhole, kDown, in each the dearest first. A kDown piece needs its
  // group's kGateUp pieces, which stand before it on its own NSP: whoever claims pieces of an NSP
  // in order may wait for them without a deadlock.
  std::vector<WorkPiece> pieces;
  std::vector<int32_t> nsp_offsets;  // [N+1], into pieces
  std::vector<int64_t> remaining;    // [pieces + N]: cost from a piece to its NSP's end, then 0
  std::vector<int32_t> group_parts;  // [groups], kGateUp pieces of each
  int32_t num_group_rows = 0;        // at most WorkCut::max_group_rows

  int num_nsp() const { return static_cast<int>(nsp_offsets.size()) - 1; }
  int32_t NumPieces(int nsp) const { return nsp_offsets[nsp + 1] - nsp_offsets[nsp]; }
  const WorkPiece& Piece(int nsp, int32_t i) const { return pieces[nsp_offsets[nsp] + i]; }
  int64_t TotalCost() const {
    int64_t total = 0;
    for (const WorkPiece& piece : pieces) total += piece.cost;
    return total;
  }
  // Of NSP `nsp` once its first `claimed` pieces are taken (more than there are: nothing is left).
  int64_t Remaining(int nsp, int32_t claimed) const {
    return claimed < NumPieces(nsp) ? remaining[nsp_offsets[nsp] + nsp + claimed] : 0;
  }
};

// What the workers are, and what they can do.
struct WorkShape {
  int num_workers;   // W
  int64_t max_rows;  // of a piece: P >= 1
  WorkCut cut;
};

// Cuts no finer than even shares need: of several ways to cut, coarse to fine, the one whose
// predicted time no other betters by a fiftieth, or the first within a 25th of even. Large experts'
// rows are cut, evenly and on tiles; small experts' columns, so that no weight is read twice.
// `list`'s storage is used again.
void BuildWorkList(const MatchedIndex& matched, const Placement& placement, const WorkShape& shape,
                   WorkList& list);

// Whether NSP `nsp` is worker's own. With as many NSPs as workers each has one; with more each has
// every W-th; with fewer an NSP is several workers' own.
inline bool IsOwnNsp(int nsp, int worker, int num_nsp, int num_workers) {
  return num_nsp < num_workers ? nsp == worker % num_nsp : nsp % num_workers == worker;
}

// A worker that expert `expert`'s NSP is its own, the experts of an NSP that has several in turns;
// num_nsp = 0, blocking off: all workers in turns. Whose memory its weights should lie near.
inline int OwnWorker(int expert, int num_nsp, int num_workers) {
  if (num_nsp == 0) return expert % num_workers;
  const int nsp = expert % num_nsp;
  if (num_nsp >= num_workers) return nsp % num_workers;
  const int num_owners = (num_workers - nsp + num_nsp - 1) / num_nsp;
  return nsp + num_nsp * (expert / num_nsp % num_owners);
}

// The NSP whose next piece a free worker takes: of its own, then of all, the one with the most
// remaining; -1 when nothing is left. claimed(nsp) = pieces of it that were taken, or more.
template <typename Claimed>
int ChooseNsp(const WorkList& list, int worker, int num_workers, const Claimed& claimed) {
  int chosen[2] = {-1, -1};  // of all, of its own
  int64_t most[2] = {0, 0};
  for (int nsp = 0; nsp < list.num_nsp(); ++nsp) {
    const int64_t remaining = list.Remaining(nsp, claimed(nsp));
    const bool is_own = IsOwnNsp(nsp, worker, list.num_nsp(), num_workers);
    for (int of = 0; of <= (is_own ? 1 : 0); ++of) {
      if (remaining <= most[of]) continue;
      chosen[of] = nsp;
      most[of] = remaining;
    }
  }
  return chosen[1] >= 0 ? chosen[1] : chosen[0];
}

// What an equal worker has done when all is done.
struct PlayedWork {
  int64_t cost = 0;
  int64_t last_piece = 0;  // the cost of its last piece
};

// ChooseNsp played through on paper, as if no piece had to wait and each took what it costs.
void PlayWorkList(const WorkList& list, std::span<PlayedWork> workers);

}  // namespace expertile
