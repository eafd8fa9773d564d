#include "targets/cpu/moe.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/stopwatch.h"

namespace expertile::cpu {
namespace {

constexpr int64_t kPanelsPerPiece = 4;

// Rows of an NSP-blocked layer that may be shared by columns at most: megabytes of activations that
// all workers see. Where there are more, most are shared by rows.
int64_t MaxGroupRows(const Gemm& gemm, const MoeBlock::Limits& limits) {
  constexpr int64_t kMaxGroupBytes = 16 << 20;
  return std::min(
      limits.num_tokens * limits.experts_per_token,
      kMaxGroupBytes / std::max<int64_t>(1, gemm.PackedBytes(1, limits.intermediate_size)));
}

// Of a packed token in whichever format the experts have; 0 if none is gathered so.
int64_t TokenRowBytes(const KernelTable& table, ComputeType type, int64_t hidden_size) {
  if (type == ComputeType::kFloat32) return 0;
  int64_t most = 0;
  for (const WeightFormat format : {WeightFormat::kBFloat16, WeightFormat::kMxint8}) {
    const GemmKernels& kernels = table.gemm(type, format);
    if (kernels.gather != nullptr) most = std::max(most, PackedRowBytes(kernels, hidden_size));
  }
  return most;
}

Range EvenShare(int64_t num_panels, int64_t piece, int64_t num_pieces) {
  return {num_panels * piece / num_pieces, num_panels * (piece + 1) / num_pieces};
}

// Of a gate-up matrix: whole groups of the panels that Gate is given together.
Range GateShare(const Gemm& gemm, int64_t num_panels, int64_t piece, int64_t num_pieces) {
  const int64_t group = gemm.gate_panels();
  const Range groups = EvenShare(CeilDiv(num_panels, group), piece, num_pieces);
  return {groups.begin * group, std::min(groups.end * group, num_panels)};
}

}  // namespace

MoeStats::Busy MoeStats::BusyOf(std::span<const double> seconds) {
  if (seconds.empty()) return {};
  return {*std::ranges::max_element(seconds), std::accumulate(seconds.begin(), seconds.end(), 0.0) /
                                                  static_cast<double>(seconds.size())};
}

MoeStats::Busy MoeStats::nsps() const {
  std::vector<double> seconds;
  for (const NspStats& each : nsp) seconds.push_back(each.busy_seconds);
  return BusyOf(seconds);
}

// What the workers of one NSP-blocked Run tell each other.
struct MoeBlock::Claims {
  explicit Claims(const WorkList& list)
      : next(static_cast<size_t>(list.num_nsp())), missing(list.group_parts.size()) {
    for (size_t group = 0; group < missing.size(); ++group)
      missing[group] = list.group_parts[group];
  }

  // Null when every piece is taken.
  const WorkPiece* Take(const WorkList& list, int worker, int num_workers) {
    while (true) {
      const int nsp = ChooseNsp(list, worker, num_workers, [&](int candidate) {
        return next[static_cast<size_t>(candidate)].load(std::memory_order_relaxed);
      });
      if (nsp < 0) return nullptr;
      const int32_t i = next[static_cast<size_t>(nsp)].fetch_add(1, std::memory_order_relaxed);
      if (i < list.NumPieces(nsp)) return &list.Piece(nsp, i);
    }
  }

  void FinishGatePart(int32_t group) {
    std::atomic<int32_t>& of_group = missing[static_cast<size_t>(group)];
    if (of_group.fetch_sub(1, std::memory_order_acq_rel) == 1) of_group.notify_all();
  }
  // Workers that hold the group's gate parts never wait, so this ends.
  void AwaitGateParts(int32_t group) {
    std::atomic<int32_t>& of_group = missing[static_cast<size_t>(group)];
    for (int32_t left = of_group.load(std::memory_order_acquire); left != 0;
         left = of_group.load(std::memory_order_acquire)) {
      of_group.wait(left, std::memory_order_acquire);
    }
  }

  std::vector<std::atomic<int32_t>> next;     // [N], pieces taken; may pass the NSP's last
  std::vector<std::atomic<int32_t>> missing;  // [groups], gate parts that are not finished
};

// What one Run works on.
struct MoeBlock::Pass {
  const RoutedTokens& tokens;
  const PackedExperts& experts;
  WorkerPool& pool;
  const GatedMlpSpec& mlp;
  Gemm gemm;  // for the format of the experts
};

Result<MoeBlock> MoeBlock::Create(const KernelTable& table, ComputeType type, const Limits& limits,
                                  std::optional<Placement> placement, int num_workers) {
  MoeBlock block(table, type, limits, std::move(placement));
  const int64_t gathered =
      std::min(limits.num_tokens, kMaxGatheredTokens) * limits.experts_per_token;
  const int64_t chunk = std::max(std::min(limits.packed_chunk_size, limits.num_tokens), gathered);
  const auto packed = static_cast<size_t>(block.gemm_.PackedBytes(chunk, limits.hidden_size));
  const auto activated =
      static_cast<size_t>(block.gemm_.PackedBytes(chunk, limits.intermediate_size));
  const int64_t shared = block.placement_ ? MaxGroupRows(block.gemm_, limits) : 0;
  const auto shared_activated =
      static_cast<size_t>(block.gemm_.PackedBytes(shared, limits.intermediate_size));
  block.workers_.resize(static_cast<size_t>(num_workers));
  bool fits = block.shared_activated_.Reserve(shared_activated);
  fits = fits && block.token_rows_.Reserve(static_cast<size_t>(
                     limits.num_tokens * TokenRowBytes(table, type, limits.hidden_size)));
  fits = fits && block.expert_out_.Reserve(static_cast<size_t>(
                     limits.num_tokens * limits.experts_per_token * limits.hidden_size));
  for (WorkerScratch& worker : block.workers_) {
    fits = fits && worker.packed.Reserve(packed) && worker.activated.Reserve(activated) &&
           worker.panels.Reserve(table, chunk);
  }
  if (fits) return block;
  return Fail(ErrorCode::kOutOfMemory, "MoE scratch: T={} K={} H={} I={} P={} for {} workers",
              limits.num_tokens, limits.experts_per_token, limits.hidden_size,
              limits.intermediate_size, limits.packed_chunk_size, num_workers);
}

Status MoeBlock::Check(const RoutedTokens& tokens, const PackedExperts& experts,
                       const WorkerPool& pool) const {
  const ExpertsShape& shape = experts.shape();
  if (tokens.num_tokens > limits_.num_tokens ||
      tokens.experts_per_token > limits_.experts_per_token ||
      shape.hidden_size != limits_.hidden_size ||
      shape.intermediate_size > limits_.intermediate_size ||
      pool.size() > static_cast<int>(workers_.size())) {
    return InvalidArgument(
        "MoE block: T={} K={} H={} I={} workers={}, prepared for T={} K={} H={} I={} workers={}",
        tokens.num_tokens, tokens.experts_per_token, shape.hidden_size, shape.intermediate_size,
        pool.size(), limits_.num_tokens, limits_.experts_per_token, limits_.hidden_size,
        limits_.intermediate_size, workers_.size());
  }
  if (placement_ && placement_->num_experts() != shape.num_experts) {
    return InvalidArgument("MoE block: E={}, placed for E={}", shape.num_experts,
                           placement_->num_experts());
  }
  return CheckRoutingTable({tokens.num_tokens, tokens.experts_per_token, tokens.ids},
                           shape.num_experts);
}

Status MoeBlock::Run(const RoutedTokens& tokens, const PackedExperts& experts,
                     const GatedMlpSpec& mlp, WorkerPool& pool, float* out, MoeStats* stats) {
  EXPERTILE_RETURN_IF_ERROR(Check(tokens, experts, pool));
  BuildMatchedIndex({tokens.num_tokens, tokens.experts_per_token, tokens.ids},
                    experts.shape().num_experts, matched_);
  tokens_.resize(matched_.assignments.size());
  for (size_t row = 0; row < tokens_.size(); ++row) {
    tokens_[row] = matched_.assignments[row] / tokens.experts_per_token;
  }
  if (stats != nullptr) *stats = {};
  const Pass pass = {tokens, experts, pool, mlp, gemm_.For(experts.shape().format)};
  const bool is_gathered = IsGathered(tokens.num_tokens);
  if (placement_.has_value() && !is_gathered) {
    RunBlocked(pass, stats);
    Combine(pass, out, stats);
    return {};
  }
  // Everything lies on one NSP: its chunks are the experts in order.
  BuildChunkPlan(matched_, Placement::OnOneNsp(experts.shape().num_experts),
                 is_gathered ? kMaxGatheredTokens : limits_.packed_chunk_size, plan_);
  if (!is_gathered) PackTokens(pass, [] {});
  if (is_gathered) {
    RunGathered(pass);
  } else {
    RunExpertAfterExpert(pass);
  }
  Combine(pass, out, stats);
  return {};
}

void MoeBlock::RunBlocked(const Pass& pass, MoeStats* stats) {
  const int num_workers = pass.pool.size();
  const int64_t num_panels =
      std::min(CeilDiv(pass.experts.GateUp(0).num_panels(), pass.gemm.gate_panels()),
               pass.experts.Down(0).num_panels());
  const WorkCut cut{pass.gemm.cut_rows(), num_panels, MaxGroupRows(gemm_, limits_),
                    pass.gemm.weights_rows()};
  PackTokens(pass, [&] {
    BuildWorkList(matched_, *placement_, {num_workers, limits_.packed_chunk_size, cut}, work_);
  });
  Claims claims(work_);
  std::vector<double> piece_seconds(work_.pieces.size());
  std::vector<double> worker_seconds(static_cast<size_t>(num_workers));
  pass.pool.RunOnFreeWorkers([&](int worker) {
    int32_t gathered = -1;
    double busy = 0.0;
    while (const WorkPiece* piece = claims.Take(work_, worker, num_workers)) {
      if (piece->stage == WorkPiece::Stage::kDown) claims.AwaitGateParts(piece->group);
      const Stopwatch watch;
      RunPiece(pass, *piece, worker, gathered, claims);
      const double seconds = watch.seconds();
      piece_seconds[static_cast<size_t>(piece - work_.pieces.data())] = seconds;
      busy += seconds;
    }
    worker_seconds[static_cast<size_t>(worker)] = busy;
  });
  if (stats == nullptr) return;
  *stats = StatsOf(pass.experts.shape().num_experts, piece_seconds, std::move(worker_seconds));
  stats->cut = cut;
}

MoeStats MoeBlock::StatsOf(int num_experts, const std::vector<double>& piece_seconds,
                           std::vector<double> worker_seconds) const {
  MoeStats stats;
  stats.nsp.resize(static_cast<size_t>(work_.num_nsp()));
  stats.worker_busy_seconds = std::move(worker_seconds);
  stats.expert_busy_seconds.resize(static_cast<size_t>(num_experts));
  for (size_t i = 0; i < piece_seconds.size(); ++i) {
    const WorkPiece& piece = work_.pieces[i];
    NspStats& nsp = stats.nsp[static_cast<size_t>(piece.nsp)];
    nsp.busy_seconds += piece_seconds[i];
    stats.expert_busy_seconds[static_cast<size_t>(piece.expert)] += piece_seconds[i];
    const bool counts = piece.stage != WorkPiece::Stage::kDown && piece.part == 0;
    if (counts) nsp.num_rows += piece.end - piece.begin;
  }
  return stats;
}

void MoeBlock::RunPiece(const Pass& pass, const WorkPiece& piece, int worker, int32_t& gathered,
                        Claims& claims) {
  WorkerScratch& scratch = workers_[static_cast<size_t>(worker)];
  switch (piece.stage) {
    case WorkPiece::Stage::kWhole:
      gathered = -1;
      return RunWhole(pass, piece, scratch);
    case WorkPiece::Stage::kGateUp:
      RunGatePart(pass, piece, scratch, gathered);
      return claims.FinishGatePart(piece.group);
    case WorkPiece::Stage::kDown:
      return RunDownPart(pass, piece, scratch);
  }
}

void MoeBlock::RunWhole(const Pass& pass, const WorkPiece& piece, WorkerScratch& scratch) {
  const PanelMatrix gate_up = pass.experts.GateUp(piece.expert);
  const PanelMatrix down = pass.experts.Down(piece.expert);
  const int64_t count = piece.end - piece.begin;
  const PackedRows x = pass.gemm.View(scratch.packed.data(), count, gate_up.in);
  const PackedRows activated = pass.gemm.View(scratch.activated.data(), count, down.in);
  Gather(pass, piece.begin, x, {0, x.tiles.num_tiles()});
  pass.gemm.Gate(x, gate_up, {0, gate_up.num_panels()}, pass.mlp, activated, scratch.panels);
  pass.gemm.Store(activated, down, {0, down.num_panels()}, Scatter(piece.begin), scratch.panels);
}

void MoeBlock::RunGatePart(const Pass& pass, const WorkPiece& piece, WorkerScratch& scratch,
                           int32_t& gathered) {
  const PanelMatrix gate_up = pass.experts.GateUp(piece.expert);
  const PackedRows x = pass.gemm.View(scratch.packed.data(), piece.end - piece.begin, gate_up.in);
  if (gathered != piece.group) Gather(pass, piece.begin, x, {0, x.tiles.num_tiles()});
  gathered = piece.group;
  pass.gemm.Gate(x, gate_up,
                 GateShare(pass.gemm, gate_up.num_panels(), piece.part, piece.num_parts), pass.mlp,
                 SharedActivated(pass, piece), scratch.panels);
}

void MoeBlock::RunDownPart(const Pass& pass, const WorkPiece& piece, WorkerScratch& scratch) {
  const PanelMatrix down = pass.experts.Down(piece.expert);
  pass.gemm.Store(SharedActivated(pass, piece), down,
                  EvenShare(down.num_panels(), piece.part, piece.num_parts), Scatter(piece.begin),
                  scratch.panels);
}

PackedRows MoeBlock::SharedActivated(const Pass& pass, const WorkPiece& piece) {
  const int64_t intermediate = pass.experts.shape().intermediate_size;
  std::byte* data =
      shared_activated_.data() + pass.gemm.PackedBytes(piece.group_begin, intermediate);
  return pass.gemm.View(data, piece.end - piece.begin, intermediate);
}

void MoeBlock::PackTokens(const Pass& pass, FunctionRef<void()> beside) {
  if (!pass.gemm.gathers()) return beside();
  constexpr int64_t kTokensPerPiece = 16;
  const int64_t hidden = limits_.hidden_size;
  const int64_t num_tokens = pass.tokens.num_tokens;
  pass.pool.ForEach(1 + CeilDiv(num_tokens, kTokensPerPiece), [&](int64_t piece, int) {
    if (piece == 0) return beside();
    const int64_t end = std::min(piece * kTokensPerPiece, num_tokens);
    for (int64_t t = (piece - 1) * kTokensPerPiece; t < end; ++t) {
      std::byte* row = token_rows_.data() + pass.gemm.PackedBytes(t, hidden);
      pass.gemm.Pack(pass.tokens.x + t * hidden, hidden, nullptr, pass.gemm.View(row, 1, hidden),
                     {0, 1});
    }
  });
}

void MoeBlock::Gather(const Pass& pass, int32_t begin, const PackedRows& packed,
                      Range tiles) const {
  if (pass.gemm.gathers() && !IsGathered(pass.tokens.num_tokens)) {
    return pass.gemm.Gather(token_rows_.data(), tokens_.data() + begin, packed, tiles);
  }
  pass.gemm.Pack(pass.tokens.x, limits_.hidden_size, tokens_.data() + begin, packed, tiles);
}

RowSink MoeBlock::Scatter(int32_t begin) {
  return {expert_out_.data(), limits_.hidden_size, matched_.assignments.data() + begin};
}

void MoeBlock::RunExpertAfterExpert(const Pass& pass) {
  WorkerScratch& shared = workers_[0];
  const int num_shares = pass.pool.size();
  for (const Chunk& chunk : plan_.chunks) {
    const PanelMatrix gate_up = pass.experts.GateUp(chunk.expert);
    const PanelMatrix down = pass.experts.Down(chunk.expert);
    const int64_t count = chunk.end - chunk.begin;
    const PackedRows x = pass.gemm.View(shared.packed.data(), count, gate_up.in);
    const PackedRows activated = pass.gemm.View(shared.activated.data(), count, down.in);
    pass.pool.ForEach(x.tiles.num_tiles(), [&](int64_t tile, int) {
      Gather(pass, chunk.begin, x, {tile, tile + 1});
    });
    pass.pool.ForEach(num_shares, [&](int64_t share, int worker) {
      pass.gemm.Gate(x, gate_up, GateShare(pass.gemm, gate_up.num_panels(), share, num_shares),
                     pass.mlp, activated, workers_[static_cast<size_t>(worker)].panels);
    });
    pass.pool.ForEach(num_shares, [&](int64_t share, int worker) {
      pass.gemm.Store(activated, down, EvenShare(down.num_panels(), share, num_shares),
                      Scatter(chunk.begin), workers_[static_cast<size_t>(worker)].panels);
    });
  }
}

void MoeBlock::RunGathered(const Pass& pass) {
  const std::vector<Chunk>& chosen = plan_.chunks;  // one for each expert that was chosen
  const int64_t hidden = limits_.hidden_size;
  const int64_t intermediate = pass.experts.shape().intermediate_size;
  const auto packed = [&](const Chunk& piece) {
    std::byte* data = workers_[0].packed.data() + pass.gemm.PackedBytes(piece.begin, hidden);
    return pass.gemm.View(data, piece.end - piece.begin, hidden);
  };
  const auto activated = [&](const Chunk& piece) {
    std::byte* data =
        workers_[0].activated.data() + pass.gemm.PackedBytes(piece.begin, intermediate);
    return pass.gemm.View(data, piece.end - piece.begin, intermediate);
  };
  for (const Chunk& piece : chosen) {
    const PackedRows x = packed(piece);
    Gather(pass, piece.begin, x, {0, x.tiles.num_tiles()});
  }
  const auto num_chosen = static_cast<int64_t>(chosen.size());
  const int64_t gate_shares =
      num_chosen == 0 ? 0 : CeilDiv(pass.experts.GateUp(0).num_panels(), kPanelsPerPiece);
  pass.pool.ForEach(num_chosen * gate_shares, [&](int64_t i, int worker) {
    const Chunk& piece = chosen[static_cast<size_t>(i / gate_shares)];
    const PanelMatrix gate_up = pass.experts.GateUp(piece.expert);
    pass.gemm.Gate(packed(piece), gate_up,
                   GateShare(pass.gemm, gate_up.num_panels(), i % gate_shares, gate_shares),
                   pass.mlp, activated(piece), workers_[static_cast<size_t>(worker)].panels);
  });
  const int64_t down_shares =
      num_chosen == 0 ? 0 : CeilDiv(pass.experts.Down(0).num_panels(), kPanelsPerPiece);
  pass.pool.ForEach(num_chosen * down_shares, [&](int64_t i, int worker) {
    const Chunk& piece = chosen[static_cast<size_t>(i / down_shares)];
    const PanelMatrix down = pass.experts.Down(piece.expert);
    pass.gemm.Store(activated(piece), down,
                    EvenShare(down.num_panels(), i % down_shares, down_shares),
                    Scatter(piece.begin), workers_[static_cast<size_t>(worker)].panels);
  });
}

void MoeBlock::Combine(const Pass& pass, float* out, MoeStats* stats) const {
  const Stopwatch watch;
  constexpr int64_t kTokensPerPiece = 16;
  const RoutedTokens& tokens = pass.tokens;
  const int64_t hidden = limits_.hidden_size;
  const int k = tokens.experts_per_token;
  pass.pool.ForEach(CeilDiv(tokens.num_tokens, kTokensPerPiece), [&](int64_t piece, int) {
    const int64_t end = std::min((piece + 1) * kTokensPerPiece, tokens.num_tokens);
    for (int64_t t = piece * kTokensPerPiece; t < end; ++t) {
      const bool padded = tokens.ids[static_cast<size_t>(t * k)] < 0;
      pass.gemm.table().combine(expert_out_.data() + t * k * hidden, tokens.weights.data() + t * k,
                                padded ? 0 : k, hidden, out + t * hidden);
    }
  });
  if (stats != nullptr) stats->combine_seconds = watch.seconds();
}

}  // namespace expertile::cpu
