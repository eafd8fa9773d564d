#include "targets/cpu/linear.h"

#include <algorithm>

#include "base/error.h"

namespace expertile::cpu {
namespace {

constexpr int64_t kPanelsPerPiece = 4;

int64_t SharesOf(const LinearProduct& product) {
  return CeilDiv(product.weights->view().num_panels(), kPanelsPerPiece);
}

}  // namespace

Result<Linear> Linear::Create(const KernelTable& table, ComputeType type, int64_t max_tokens,
                              int64_t max_in, int num_workers) {
  Linear linear(table, type, max_tokens, max_in);
  bool fits =
      linear.packed_.Reserve(static_cast<size_t>(linear.gemm_.PackedBytes(max_tokens, max_in)));
  linear.scratch_.resize(static_cast<size_t>(num_workers));
  for (PanelScratch& scratch : linear.scratch_) {
    fits = fits && scratch.Reserve(table, std::min(max_tokens, linear.gemm_.RowsPerBlock()));
  }
  if (fits) return linear;
  return Fail(ErrorCode::kOutOfMemory, "linear scratch: T={} in={} for {} workers", max_tokens,
              max_in, num_workers);
}

Status Linear::Check(int64_t num_tokens, std::span<const LinearProduct> products,
                     const WorkerPool& pool) const {
  const int64_t in = products[0].weights->view().in;
  for (const LinearProduct& product : products) {
    const PanelMatrix matrix = product.weights->view();
    if (num_tokens > max_tokens_ || matrix.in > max_in_ || matrix.in != in ||
        pool.size() > static_cast<int>(scratch_.size())) {
      return InvalidArgument("linear: T={} in={} workers={}, prepared for T={} in={} workers={}",
                             num_tokens, matrix.in, pool.size(), max_tokens_, max_in_,
                             scratch_.size());
    }
  }
  return {};
}

Status Linear::Run(const float* x, int64_t num_tokens, std::span<const LinearProduct> products,
                   WorkerPool& pool) {
  EXPERTILE_RETURN_IF_ERROR(Check(num_tokens, products, pool));
  const int64_t in = products[0].weights->view().in;
  const int64_t block_rows = gemm_.RowsPerBlock();
  const int64_t num_row_blocks = CeilDiv(num_tokens, block_rows);
  const auto block = [&](int64_t i) {
    const int64_t begin = i * block_rows;
    return gemm_.View(packed_.data() + gemm_.PackedBytes(begin, in),
                      std::min(block_rows, num_tokens - begin), in);
  };
  const int64_t tiles_per_block = gemm_.Tiles(std::min(num_tokens, block_rows)).num_tiles();
  pool.ForEach(num_row_blocks * tiles_per_block, [&](int64_t i, int) {
    const int64_t b = i / tiles_per_block;
    const int64_t tile = i % tiles_per_block;
    const PackedRows rows = block(b);
    if (tile >= rows.tiles.num_tiles()) return;
    gemm_.Pack(x + b * block_rows * in, in, nullptr, rows, {tile, tile + 1});
  });
  // Shares of panels of all products in a row. Row blocks of the same panels follow each other, so
  // that the panels are still in a cache.
  int64_t num_shares = 0;
  for (const LinearProduct& product : products) num_shares += SharesOf(product);
  pool.ForEach(num_shares * num_row_blocks, [&](int64_t i, int worker) {
    int64_t share = i / num_row_blocks;
    size_t p = 0;
    for (; share >= SharesOf(products[p]); ++p) share -= SharesOf(products[p]);
    const PanelMatrix matrix = products[p].weights->view();
    const int64_t b = i % num_row_blocks;
    const Range panels = {share * kPanelsPerPiece,
                          std::min((share + 1) * kPanelsPerPiece, matrix.num_panels())};
    gemm_.Store(block(b), matrix, panels,
                {products[p].out + b * block_rows * matrix.out, matrix.out, nullptr},
                scratch_[static_cast<size_t>(worker)]);
  });
  return {};
}

}  // namespace expertile::cpu
