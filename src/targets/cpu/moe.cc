#include "targets/cpu/moe.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace expertile::cpu {
namespace {

// At most this many tokens go through RunGathered (decode): few rows per expert, bound by reading
// weights, so the work is cut by columns rather than by experts.
constexpr int64_t kMaxGatheredTokens = 8;
constexpr int64_t kPanelsPerPiece = 4;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Range EvenShare(int64_t num_panels, int64_t piece, int64_t num_pieces) {
  return {num_panels * piece / num_pieces, num_panels * (piece + 1) / num_pieces};
}

}  // namespace

// What one Run works on.
struct MoeBlock::Pass {
  const RoutedTokens& tokens;
  const PackedExperts& experts;
  int64_t packed_chunk_size;
  WorkerPool& pool;
  const GatedMlpSpec& mlp;
};

// Rows [begin, begin + count) of one expert.
struct MoeBlock::Piece {
  int expert;
  int64_t begin;
  int64_t count;
};

Result<MoeBlock> MoeBlock::Create(const KernelTable& table, ComputeType type, const Limits& limits,
                                  int num_workers) {
  MoeBlock block(table, type, limits);
  const int64_t gathered =
      std::min(limits.num_tokens, kMaxGatheredTokens) * limits.experts_per_token;
  const int64_t chunk = std::max(std::min(limits.packed_chunk_size, limits.num_tokens), gathered);
  const auto packed = static_cast<size_t>(block.gemm_.PackedBytes(chunk, limits.hidden_size));
  const auto activated =
      static_cast<size_t>(block.gemm_.PackedBytes(chunk, limits.intermediate_size));
  block.workers_.resize(static_cast<size_t>(num_workers));
  bool fits = block.expert_out_.Reserve(
      static_cast<size_t>(limits.num_tokens * limits.experts_per_token * limits.hidden_size));
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
                       const MoeBlocking& blocking, const WorkerPool& pool) const {
  const ExpertsShape& shape = experts.shape();
  if (tokens.num_tokens > limits_.num_tokens ||
      tokens.experts_per_token > limits_.experts_per_token ||
      shape.hidden_size != limits_.hidden_size ||
      shape.intermediate_size > limits_.intermediate_size || blocking.packed_chunk_size < 1 ||
      blocking.packed_chunk_size > limits_.packed_chunk_size || blocking.num_nsp < 0 ||
      pool.size() > static_cast<int>(workers_.size())) {
    return InvalidArgument(
        "MoE block: T={} K={} H={} I={} P={} num_nsp={} workers={}, prepared for T={} K={} H={} "
        "I={} P={} workers={}",
        tokens.num_tokens, tokens.experts_per_token, shape.hidden_size, shape.intermediate_size,
        blocking.packed_chunk_size, blocking.num_nsp, pool.size(), limits_.num_tokens,
        limits_.experts_per_token, limits_.hidden_size, limits_.intermediate_size,
        limits_.packed_chunk_size, workers_.size());
  }
  for (const int32_t id : tokens.ids) {
    if (id >= shape.num_experts) {
      return InvalidArgument("MoE block: expert id {}, expected below {}", id, shape.num_experts);
    }
  }
  return {};
}

Status MoeBlock::Run(const RoutedTokens& tokens, const PackedExperts& experts,
                     const MoeBlocking& blocking, WorkerPool& pool, float* out, MoeStats* stats) {
  EXPERTILE_RETURN_IF_ERROR(Check(tokens, experts, blocking, pool));
  rows_.Assign(tokens.ids, tokens.experts_per_token, experts.shape().num_experts);
  if (stats != nullptr) stats->nsp.clear();
  const Pass pass = {tokens, experts, blocking.packed_chunk_size, pool, experts.shape().mlp};
  if (tokens.num_tokens <= kMaxGatheredTokens) {
    RunGathered(pass);
  } else if (blocking.num_nsp > 0) {
    RunBlocked(pass, blocking.num_nsp, stats);
  } else {
    RunExpertAfterExpert(pass);
  }
  Combine(pass, out);
  return {};
}

Status MoeBlock::RunDense(const float* x, int64_t num_tokens, const PackedExperts& mlp,
                          WorkerPool& pool, float* out) {
  dense_ids_.assign(static_cast<size_t>(num_tokens), 0);
  dense_weights_.assign(static_cast<size_t>(num_tokens), 1.0f);
  const MoeBlocking unblocked = {0, limits_.packed_chunk_size};
  return Run({x, dense_ids_, dense_weights_, num_tokens, 1}, mlp, unblocked, pool, out);
}

void MoeBlock::RunBlocked(const Pass& pass, int num_nsp, MoeStats* stats) {
  std::vector<NspStats> nsp(static_cast<size_t>(num_nsp));
  for (int e = 0; e < rows_.num_experts(); ++e) {
    nsp[static_cast<size_t>(e % num_nsp)].num_rows += rows_.Count(e);
  }
  std::vector<int> order(nsp.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return nsp[static_cast<size_t>(a)].num_rows > nsp[static_cast<size_t>(b)].num_rows;
  });
  pass.pool.ForEach(num_nsp, [&](int64_t i, int worker) {
    const auto start = std::chrono::steady_clock::now();
    const int n = order[static_cast<size_t>(i)];
    RunNsp(pass, n, num_nsp, worker);
    nsp[static_cast<size_t>(n)].busy_seconds = SecondsSince(start);
  });
  if (stats != nullptr) stats->nsp = std::move(nsp);
}

void MoeBlock::RunNsp(const Pass& pass, int nsp, int num_nsp, int worker) {
  WorkerScratch& scratch = workers_[static_cast<size_t>(worker)];
  const int64_t hidden = limits_.hidden_size;
  for (int e = nsp; e < rows_.num_experts(); e += num_nsp) {
    const PanelMatrix gate_up = pass.experts.GateUp(e);
    const PanelMatrix down = pass.experts.Down(e);
    const int64_t end = rows_.Begin(e) + rows_.Count(e);
    for (int64_t begin = rows_.Begin(e); begin < end; begin += pass.packed_chunk_size) {
      const int64_t count = std::min(pass.packed_chunk_size, end - begin);
      const PackedRows x = gemm_.View(scratch.packed.data(), count, hidden);
      const PackedRows activated = gemm_.View(scratch.activated.data(), count, down.in);
      gemm_.Pack(pass.tokens.x, hidden, rows_.tokens() + begin, x, {0, x.tiles.num_tiles()});
      gemm_.Gate(x, gate_up, {0, gate_up.num_panels()}, pass.mlp, activated, scratch.panels);
      gemm_.Store(activated, down, {0, down.num_panels()},
                  {expert_out_.data(), hidden, rows_.assignments() + begin}, scratch.panels);
    }
  }
}

void MoeBlock::RunExpertAfterExpert(const Pass& pass) {
  WorkerScratch& shared = workers_[0];
  const int64_t hidden = limits_.hidden_size;
  const int num_shares = pass.pool.size();
  for (int e = 0; e < rows_.num_experts(); ++e) {
    const PanelMatrix gate_up = pass.experts.GateUp(e);
    const PanelMatrix down = pass.experts.Down(e);
    const int64_t end = rows_.Begin(e) + rows_.Count(e);
    for (int64_t begin = rows_.Begin(e); begin < end; begin += pass.packed_chunk_size) {
      const int64_t count = std::min(pass.packed_chunk_size, end - begin);
      const PackedRows x = gemm_.View(shared.packed.data(), count, hidden);
      const PackedRows activated = gemm_.View(shared.activated.data(), count, down.in);
      pass.pool.ForEach(x.tiles.num_tiles(), [&](int64_t tile, int) {
        gemm_.Pack(pass.tokens.x, hidden, rows_.tokens() + begin, x, {tile, tile + 1});
      });
      pass.pool.ForEach(num_shares, [&](int64_t share, int worker) {
        gemm_.Gate(x, gate_up, EvenShare(gate_up.num_panels(), share, num_shares), pass.mlp,
                   activated, workers_[static_cast<size_t>(worker)].panels);
      });
      pass.pool.ForEach(num_shares, [&](int64_t share, int worker) {
        gemm_.Store(activated, down, EvenShare(down.num_panels(), share, num_shares),
                    {expert_out_.data(), hidden, rows_.assignments() + begin},
                    workers_[static_cast<size_t>(worker)].panels);
      });
    }
  }
}

void MoeBlock::RunGathered(const Pass& pass) {
  std::vector<Piece> chosen;
  for (int e = 0; e < rows_.num_experts(); ++e) {
    if (rows_.Count(e) > 0) chosen.push_back({e, rows_.Begin(e), rows_.Count(e)});
  }
  const int64_t hidden = limits_.hidden_size;
  const int64_t intermediate = pass.experts.shape().intermediate_size;
  const auto packed = [&](const Piece& piece) {
    std::byte* data = workers_[0].packed.data() + gemm_.PackedBytes(piece.begin, hidden);
    return gemm_.View(data, piece.count, hidden);
  };
  const auto activated = [&](const Piece& piece) {
    std::byte* data = workers_[0].activated.data() + gemm_.PackedBytes(piece.begin, intermediate);
    return gemm_.View(data, piece.count, intermediate);
  };
  for (const Piece& piece : chosen) {
    const PackedRows x = packed(piece);
    gemm_.Pack(pass.tokens.x, hidden, rows_.tokens() + piece.begin, x, {0, x.tiles.num_tiles()});
  }
  const auto num_chosen = static_cast<int64_t>(chosen.size());
  const int64_t gate_shares =
      num_chosen == 0 ? 0 : CeilDiv(pass.experts.GateUp(0).num_panels(), kPanelsPerPiece);
  pass.pool.ForEach(num_chosen * gate_shares, [&](int64_t i, int worker) {
    const Piece& piece = chosen[static_cast<size_t>(i / gate_shares)];
    const PanelMatrix gate_up = pass.experts.GateUp(piece.expert);
    gemm_.Gate(packed(piece), gate_up,
               EvenShare(gate_up.num_panels(), i % gate_shares, gate_shares), pass.mlp,
               activated(piece), workers_[static_cast<size_t>(worker)].panels);
  });
  const int64_t down_shares =
      num_chosen == 0 ? 0 : CeilDiv(pass.experts.Down(0).num_panels(), kPanelsPerPiece);
  pass.pool.ForEach(num_chosen * down_shares, [&](int64_t i, int worker) {
    const Piece& piece = chosen[static_cast<size_t>(i / down_shares)];
    const PanelMatrix down = pass.experts.Down(piece.expert);
    gemm_.Store(activated(piece), down, EvenShare(down.num_panels(), i % down_shares, down_shares),
                {expert_out_.data(), hidden, rows_.assignments() + piece.begin},
                workers_[static_cast<size_t>(worker)].panels);
  });
}

void MoeBlock::Combine(const Pass& pass, float* out) const {
  constexpr int64_t kTokensPerPiece = 16;
  const RoutedTokens& tokens = pass.tokens;
  const int64_t hidden = limits_.hidden_size;
  const int k = tokens.experts_per_token;
  pass.pool.ForEach(CeilDiv(tokens.num_tokens, kTokensPerPiece), [&](int64_t piece, int) {
    const int64_t end = std::min((piece + 1) * kTokensPerPiece, tokens.num_tokens);
    for (int64_t t = piece * kTokensPerPiece; t < end; ++t) {
      const bool padded = tokens.ids[static_cast<size_t>(t * k)] < 0;
      gemm_.table().combine(expert_out_.data() + t * k * hidden, tokens.weights.data() + t * k,
                            padded ? 0 : k, hidden, out + t * hidden);
    }
  });
}

}  // namespace expertile::cpu
