#include "targets/cpu/linear.h"

#include <algorithm>

#include "base/error.h"

namespace expertile::cpu {
namespace {

// How a product is cut: `rows` of x by `panels` of weights a piece.
struct Cut {
  int64_t rows;
  int64_t panels;
};

// Pieces of whole row blocks and a few panels, smaller where there would be less than a few for
// each worker: of single tokens, and of narrow products such as a router's.
Cut CutFor(const Gemm& gemm, int64_t num_tokens, int64_t in, int64_t num_panels, int num_workers) {
  constexpr int64_t kPiecesPerWorker = 4;
  const int64_t tile = gemm.max_tile_rows();
  Cut cut = {gemm.RowsPerBlock(in), num_tokens > tile ? 2 : 4};
  while (CeilDiv(num_tokens, cut.rows) * CeilDiv(num_panels, cut.panels) <
         kPiecesPerWorker * num_workers) {
    if (cut.panels > 1) {
      cut.panels /= 2;
    } else if (cut.rows > tile && num_tokens > tile) {
      cut.rows = RoundUp(cut.rows / 2, gemm.cut_rows());
    } else {
      break;
    }
  }
  return cut;
}

// Rows of a piece of RunByRows: whole tiles, some pieces for each worker; 0 if there are too few.
int64_t RowsByRows(const Gemm& gemm, int64_t num_tokens, int num_workers) {
  constexpr int64_t kPiecesPerWorker = 4;
  const int64_t unit = gemm.cut_rows();
  if (num_tokens < unit * num_workers) return 0;
  return std::clamp(num_tokens / (kPiecesPerWorker * num_workers) / unit * unit, unit,
                    gemm.RowsPerBlock());
}

int64_t SharesOf(const LinearProduct& product, int64_t panels) {
  return CeilDiv(product.weights->view().num_panels(), panels);
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
    const WeightFormat first = products[0].weights->view().format;
    if ((matrix.format == WeightFormat::kMxint8) != (first == WeightFormat::kMxint8)) {
      return InvalidArgument(
          "linear: {} of {} products in MXINT8, expected all or none",
          std::ranges::count(products, WeightFormat::kMxint8,
                             [](const LinearProduct& each) { return each.weights->view().format; }),
          products.size());
    }
  }
  return {};
}

Status Linear::Run(const float* x, int64_t num_tokens, std::span<const LinearProduct> products,
                   WorkerPool& pool) {
  EXPERTILE_RETURN_IF_ERROR(Check(num_tokens, products, pool));
  const int64_t in = products[0].weights->view().in;
  const Gemm gemm = gemm_.For(products[0].weights->view().format);
  int64_t num_panels = 0;
  for (const LinearProduct& product : products) num_panels += product.weights->view().num_panels();
  const Cut cut = CutFor(gemm, num_tokens, in, num_panels, pool.size());
  const int64_t num_row_blocks = CeilDiv(num_tokens, cut.rows);
  const auto block = [&](int64_t i) {
    const int64_t begin = i * cut.rows;
    return gemm.View(packed_.data() + gemm.PackedBytes(begin, in),
                     std::min(cut.rows, num_tokens - begin), in);
  };
  const int64_t tiles_per_block =
      std::max(block(0).tiles.num_tiles(), block(num_row_blocks - 1).tiles.num_tiles());
  pool.ForEachNear(num_row_blocks * tiles_per_block, [&](int64_t i, int) {
    const int64_t b = i / tiles_per_block;
    const int64_t tile = i % tiles_per_block;
    const PackedRows rows = block(b);
    if (tile >= rows.tiles.num_tiles()) return;
    gemm.Pack(x + b * cut.rows * in, in, nullptr, rows, {tile, tile + 1});
  });
  // Shares of panels of all products in a row, for one block of rows after the other: a worker's
  // next piece has the same rows, which are still in its cache.
  int64_t num_shares = 0;
  for (const LinearProduct& product : products) num_shares += SharesOf(product, cut.panels);
  pool.ForEachNear(num_shares * num_row_blocks, [&](int64_t i, int worker) {
    int64_t share = i % num_shares;
    size_t p = 0;
    for (; share >= SharesOf(products[p], cut.panels); ++p) {
      share -= SharesOf(products[p], cut.panels);
    }
    const PanelMatrix matrix = products[p].weights->view();
    const int64_t b = i / num_shares;
    const Range panels = {share * cut.panels,
                          std::min((share + 1) * cut.panels, matrix.num_panels())};
    gemm.Store(block(b), matrix, panels,
               {products[p].out + b * cut.rows * matrix.out, matrix.out, nullptr},
               scratch_[static_cast<size_t>(worker)]);
  });
  return {};
}

Status Linear::RunByRows(const float* x, int64_t num_tokens, const LinearProduct& product,
                         WorkerPool& pool, FunctionRef<void(int64_t begin, int64_t end)> finish) {
  const PanelMatrix matrix = product.weights->view();
  const Gemm gemm = gemm_.For(matrix.format);
  const int64_t rows = RowsByRows(gemm, num_tokens, pool.size());
  if (rows == 0) {
    EXPERTILE_RETURN_IF_ERROR(Run(x, num_tokens, {&product, 1}, pool));
    constexpr int64_t kRowsPerPiece = 16;
    pool.ForEach(CeilDiv(num_tokens, kRowsPerPiece), [&](int64_t piece, int) {
      finish(piece * kRowsPerPiece, std::min((piece + 1) * kRowsPerPiece, num_tokens));
    });
    return {};
  }
  EXPERTILE_RETURN_IF_ERROR(Check(num_tokens, {&product, 1}, pool));
  pool.ForEach(CeilDiv(num_tokens, rows), [&](int64_t piece, int worker) {
    const int64_t begin = piece * rows;
    const int64_t end = std::min(begin + rows, num_tokens);
    const PackedRows packed =
        gemm.View(packed_.data() + gemm.PackedBytes(begin, matrix.in), end - begin, matrix.in);
    gemm.Pack(x + begin * matrix.in, matrix.in, nullptr, packed, {0, packed.tiles.num_tiles()});
    gemm.Store(packed, matrix, {0, matrix.num_panels()},
               {product.out + begin * matrix.out, matrix.out, nullptr},
               scratch_[static_cast<size_t>(worker)]);
    finish(begin, end);
  });
  return {};
}

}  // namespace expertile::cpu
