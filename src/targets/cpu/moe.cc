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
  WorkerPool& pool;
  const GatedMlpSpec& mlp;
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
  if (stats != nullptr) stats->nsp.clear();
  const Pass pass = {tokens, experts, pool, mlp};
  const bool is_gathered = tokens.num_tokens <= kMaxGatheredTokens;
  const bool is_blocked = placement_.has_value() && !is_gathered;
  // Without blocking everything lies on one NSP: its chunks are the experts in order.
  BuildChunkPlan(matched_,
                 is_blocked ? *placement_ : Placement::OnOneNsp(experts.shape().num_experts),
                 is_gathered ? kMaxGatheredTokens : limits_.packed_chunk_size, plan_);
  if (is_gathered) {
    RunGathered(pass);
  } else if (is_blocked) {
    RunBlocked(pass, stats);
  } else {
    RunExpertAfterExpert(pass);
  }
  Combine(pass, out);
  return {};
}

void MoeBlock::RunBlocked(const Pass& pass, MoeStats* stats) {
  const int num_nsp = placement_->num_nsp();
  std::vector<NspStats> nsp(static_cast<size_t>(num_nsp));
  for (const Chunk& chunk : plan_.chunks) {
    nsp[static_cast<size_t>(chunk.nsp)].num_rows += chunk.end - chunk.begin;
  }
  std::vector<int> order(nsp.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return nsp[static_cast<size_t>(a)].num_rows > nsp[static_cast<size_t>(b)].num_rows;
  });
  pass.pool.ForEach(num_nsp, [&](int64_t i, int worker) {
    const auto start = std::chrono::steady_clock::now();
    const auto n = static_cast<size_t>(order[static_cast<size_t>(i)]);
    for (int32_t c = plan_.nsp_offsets[n]; c < plan_.nsp_offsets[n + 1]; ++c) {
      RunChunk(pass, plan_.chunks[static_cast<size_t>(c)], worker);
    }
    nsp[n].busy_seconds = SecondsSince(start);
  });
  if (stats != nullptr) stats->nsp = std::move(nsp);
}

void MoeBlock::RunChunk(const Pass& pass, const Chunk& chunk, int worker) {
  WorkerScratch& scratch = workers_[static_cast<size_t>(worker)];
  const PanelMatrix gate_up = pass.experts.GateUp(chunk.expert);
  const PanelMatrix down = pass.experts.Down(chunk.expert);
  const int64_t count = chunk.end - chunk.begin;
  const PackedRows x = gemm_.View(scratch.packed.data(), count, gate_up.in);
  const PackedRows activated = gemm_.View(scratch.activated.data(), count, down.in);
  Gather(pass, chunk, x, {0, x.tiles.num_tiles()});
  gemm_.Gate(x, gate_up, {0, gate_up.num_panels()}, pass.mlp, activated, scratch.panels);
  gemm_.Store(activated, down, {0, down.num_panels()}, Scatter(chunk), scratch.panels);
}

void MoeBlock::Gather(const Pass& pass, const Chunk& chunk, const PackedRows& packed,
                      Range tiles) const {
  gemm_.Pack(pass.tokens.x, limits_.hidden_size, tokens_.data() + chunk.begin, packed, tiles);
}

RowSink MoeBlock::Scatter(const Chunk& chunk) {
  return {expert_out_.data(), limits_.hidden_size, matched_.assignments.data() + chunk.begin};
}

void MoeBlock::RunExpertAfterExpert(const Pass& pass) {
  WorkerScratch& shared = workers_[0];
  const int num_shares = pass.pool.size();
  for (const Chunk& chunk : plan_.chunks) {
    const PanelMatrix gate_up = pass.experts.GateUp(chunk.expert);
    const PanelMatrix down = pass.experts.Down(chunk.expert);
    const int64_t count = chunk.end - chunk.begin;
    const PackedRows x = gemm_.View(shared.packed.data(), count, gate_up.in);
    const PackedRows activated = gemm_.View(shared.activated.data(), count, down.in);
    pass.pool.ForEach(x.tiles.num_tiles(), [&](int64_t tile, int) {
      Gather(pass, chunk, x, {tile, tile + 1});
    });
    pass.pool.ForEach(num_shares, [&](int64_t share, int worker) {
      gemm_.Gate(x, gate_up, EvenShare(gate_up.num_panels(), share, num_shares), pass.mlp,
                 activated, workers_[static_cast<size_t>(worker)].panels);
    });
    pass.pool.ForEach(num_shares, [&](int64_t share, int worker) {
      gemm_.Store(activated, down, EvenShare(down.num_panels(), share, num_shares), Scatter(chunk),
                  workers_[static_cast<size_t>(worker)].panels);
    });
  }
}

void MoeBlock::RunGathered(const Pass& pass) {
  const std::vector<Chunk>& chosen = plan_.chunks;  // one for each expert that was chosen
  const int64_t hidden = limits_.hidden_size;
  const int64_t intermediate = pass.experts.shape().intermediate_size;
  const auto packed = [&](const Chunk& piece) {
    std::byte* data = workers_[0].packed.data() + gemm_.PackedBytes(piece.begin, hidden);
    return gemm_.View(data, piece.end - piece.begin, hidden);
  };
  const auto activated = [&](const Chunk& piece) {
    std::byte* data = workers_[0].activated.data() + gemm_.PackedBytes(piece.begin, intermediate);
    return gemm_.View(data, piece.end - piece.begin, intermediate);
  };
  for (const Chunk& piece : chosen) {
    const PackedRows x = packed(piece);
    Gather(pass, piece, x, {0, x.tiles.num_tiles()});
  }
  const auto num_chosen = static_cast<int64_t>(chosen.size());
  const int64_t gate_shares =
      num_chosen == 0 ? 0 : CeilDiv(pass.experts.GateUp(0).num_panels(), kPanelsPerPiece);
  pass.pool.ForEach(num_chosen * gate_shares, [&](int64_t i, int worker) {
    const Chunk& piece = chosen[static_cast<size_t>(i / gate_shares)];
    const PanelMatrix gate_up = pass.experts.GateUp(piece.expert);
    gemm_.Gate(packed(piece), gate_up,
               EvenShare(gate_up.num_panels(), i % gate_shares, gate_shares), pass.mlp,
               activated(piece), workers_[static_cast<size_t>(worker)].panels);
  });
  const int64_t down_shares =
      num_chosen == 0 ? 0 : CeilDiv(pass.experts.Down(0).num_panels(), kPanelsPerPiece);
  pass.pool.ForEach(num_chosen * down_shares, [&](int64_t i, int worker) {
    const Chunk& piece = chosen[static_cast<size_t>(i / down_shares)];
    const PanelMatrix down = pass.experts.Down(piece.expert);
    gemm_.Store(activated(piece), down, EvenShare(down.num_panels(), i % down_shares, down_shares),
                Scatter(piece), workers_[static_cast<size_t>(worker)].panels);
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
