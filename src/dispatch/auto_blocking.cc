#include "dispatch/auto_blocking.h"

#include <algorithm>

namespace expertile {
namespace {

// Workers that share an NSP: they take pieces of one queue, the dearest of all its experts first.
// With a queue each, a worker reaches its small pieces, which make the end even, while others are
// still at large ones. Played through (PlayWorkList) for 16 workers, T = 512 and 2048, uniform and
// Zipf 1.2: 16 NSPs end 1 to 3 % after 1 NSP with 128 experts, 2 to 8 % after it with 32 or 40. A
// queue is one counter, taken a few hundred times a layer: 16 workers do not wait for it.
constexpr int kWorkersPerNsp = 16;

// Rows of a chunk. Each chunk of an expert reads its weights again, which takes as long as about 8
// rows: 3 % at 256. Where an expert has more rows than that on average, chunks are twice as long;
// at 1024 rows what is gathered is far beyond a second-level cache, and took up to 16 % more.
constexpr int64_t kChunkSize = 256;

}  // namespace

AutoBlocking ChooseBlocking(const MoeLayerShape& shape) {
  const int num_nsp = (shape.num_workers + kWorkersPerNsp - 1) / kWorkersPerNsp;
  const bool has_long_experts =
      shape.num_tokens * shape.experts_per_token > kChunkSize * shape.num_experts;
  return {std::clamp(num_nsp, 1, shape.num_experts),
          has_long_experts ? 2 * kChunkSize : kChunkSize};
}

}  // namespace expertile
