// The reference target's three ways through a MoE layer: NSP-blocked, one expert after another, and
// decode's gather.
#include <algorithm>

#include "base/stopwatch.h"
#include "targets/reference/arithmetic.h"
#include "targets/reference/reference_ops.h"

namespace expertile::reference {

void ReferenceOps::RunNsp(const Tensor& x, const Experts& experts, const GatedMlpSpec& spec,
                          int nsp, Tensor& outputs) const {
  const int64_t K = outputs.rows / std::max<int64_t>(1, x.rows);
  for (int32_t c = plan_.nsp_offsets[nsp]; c < plan_.nsp_offsets[nsp + 1]; ++c) {
    const Chunk& chunk = plan_.chunks[c];
    const std::span assignments =
        std::span(matched_.assignments).subspan(chunk.begin, chunk.end - chunk.begin);
    Tensor packed = Tensor::Zeros(static_cast<int64_t>(assignments.size()), x.width);
    for (size_t j = 0; j < assignments.size(); ++j) {
      std::ranges::copy(x.Row(assignments[j] / K), packed.Row(j).begin());
    }
    for (size_t j = 0; j < assignments.size(); ++j) {
      MlpRow(packed.Row(j), experts[chunk.expert], spec, outputs.Row(assignments[j]));
    }
  }
}

Tensor ReferenceOps::Moe(const Tensor& x, const Routing& routing, const Experts& experts,
                         const GatedMlpSpec& spec) {
  const int64_t K = routing.experts_per_token;
  const auto num_experts = static_cast<int>(experts.size());
  const MoeBlocking& blocking = context_.options.blocking;
  const bool is_counted = !is_repeated_;
  Tensor outputs = Tensor::Zeros(x.rows * K, x.width);  // [T K, H], row t K + k
  if (IsGathered(x.rows)) {
    pool().ForEach(x.rows * K, [&](int64_t row, int) {
      MlpRow(x.Row(row / K), experts[routing.ids[row]], spec, outputs.Row(row));
    });
  } else if (blocking.num_nsp == 0) {
    BuildMatchedIndex({x.rows, static_cast<int>(K), routing.ids}, num_experts, matched_);
    for (int expert = 0; expert < num_experts; ++expert) {
      const auto assignments = matched_.Of(expert);
      pool().ForEach(static_cast<int64_t>(assignments.size()), [&](int64_t j, int) {
        const int64_t row = assignments[j];
        MlpRow(x.Row(row / K), experts[expert], spec, outputs.Row(row));
      });
    }
  } else {
    BuildMatchedIndex({x.rows, static_cast<int>(K), routing.ids}, num_experts, matched_);
    BuildChunkPlan(matched_, *context_.placement, blocking.packed_chunk_size, plan_);
    pool().ForEach(blocking.num_nsp, [&](int64_t nsp, int) {
      const Stopwatch watch;
      RunNsp(x, experts, spec, static_cast<int>(nsp), outputs);
      if (is_counted) statistics_.busy_seconds[nsp] += watch.seconds();
    });
    for (const Chunk& chunk : plan_.chunks) {
      if (is_counted) statistics_.rows[chunk.nsp] += chunk.end - chunk.begin;
    }
  }
  const StageClock::Scope time(stage_clock_, Stage::kCombine);
  Tensor y = Tensor::Zeros(x.rows, x.width);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t k = 0; k < K; ++k) {
      const float weight = routing.weights[t * K + k];
      const auto expert_row = outputs.Row(t * K + k);
      for (int64_t i = 0; i < x.width; ++i) y.Row(t)[i] += weight * expert_row[i];
    }
  }
  return y;
}

}  // namespace expertile::reference
