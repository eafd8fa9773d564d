#include "targets/cpu/gated_mlp.h"

#include <algorithm>

#include "base/error.h"

namespace expertile::cpu {
namespace {

constexpr int64_t kPanelsPerPiece = 4;  // a multiple of every Gemm's gate_panels()

}  // namespace

Result<GatedMlp> GatedMlp::Create(const KernelTable& table, ComputeType type, const Limits& limits,
                                  int num_workers) {
  GatedMlp mlp(table, type, limits);
  const int64_t rows = std::min(limits.num_tokens, mlp.gemm_.RowsPerBlock());
  const auto bytes = [&](int64_t depth) {
    return static_cast<size_t>(mlp.gemm_.PackedBytes(rows, depth));
  };
  bool fits = mlp.packed_.Reserve(bytes(limits.hidden_size)) &&
              mlp.activated_.Reserve(bytes(limits.intermediate_size));
  mlp.scratch_.resize(static_cast<size_t>(num_workers));
  for (PanelScratch& scratch : mlp.scratch_) fits = fits && scratch.Reserve(table, rows);
  if (fits) return mlp;
  return Fail(ErrorCode::kOutOfMemory, "MLP scratch: T={} H={} I={} for {} workers",
              limits.num_tokens, limits.hidden_size, limits.intermediate_size, num_workers);
}

Status GatedMlp::Run(const float* x, int64_t num_tokens, const PackedMlp& mlp,
                     const GatedMlpSpec& spec, WorkerPool& pool, float* out) {
  if (num_tokens > limits_.num_tokens || mlp.gate_up.in != limits_.hidden_size ||
      mlp.down.in > limits_.intermediate_size || pool.size() > static_cast<int>(scratch_.size())) {
    return InvalidArgument("MLP: T={} H={} I={} workers={}, prepared for T={} H={} I={} workers={}",
                           num_tokens, mlp.gate_up.in, mlp.down.in, pool.size(), limits_.num_tokens,
                           limits_.hidden_size, limits_.intermediate_size, scratch_.size());
  }
  // What is between the two products of a block of rows stays in a cache.
  const int64_t block_rows = gemm_.RowsPerBlock();
  for (int64_t first = 0; first < num_tokens; first += block_rows) {
    RunRows(x, first, std::min(block_rows, num_tokens - first), mlp, spec, pool, out);
  }
  return {};
}

void GatedMlp::RunRows(const float* x, int64_t first, int64_t count, const PackedMlp& mlp,
                       const GatedMlpSpec& spec, WorkerPool& pool, float* out) {
  const int64_t H = limits_.hidden_size;
  const Gemm gemm = gemm_.For(mlp.gate_up.format);
  const PackedRows rows = gemm.View(packed_.data(), count, mlp.gate_up.in);
  const PackedRows activated = gemm.View(activated_.data(), count, mlp.down.in);
  const auto for_panels = [&](const PanelMatrix& matrix, auto task) {
    const int64_t num_panels = matrix.num_panels();
    pool.ForEach(CeilDiv(num_panels, kPanelsPerPiece), [&](int64_t piece, int worker) {
      const int64_t begin = piece * kPanelsPerPiece;
      task(Range{begin, std::min(begin + kPanelsPerPiece, num_panels)},
           scratch_[static_cast<size_t>(worker)]);
    });
  };
  pool.ForEach(rows.tiles.num_tiles(), [&](int64_t tile, int) {
    gemm.Pack(x + first * H, H, nullptr, rows, {tile, tile + 1});
  });
  for_panels(mlp.gate_up, [&](Range panels, PanelScratch& scratch) {
    gemm.Gate(rows, mlp.gate_up, panels, spec, activated, scratch);
  });
  for_panels(mlp.down, [&](Range panels, PanelScratch& scratch) {
    gemm.Store(activated, mlp.down, panels, {out + first * H, H, nullptr}, scratch);
  });
}

}  // namespace expertile::cpu
