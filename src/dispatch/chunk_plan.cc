#include "dispatch/chunk_plan.h"

namespace expertile {

void BuildChunkPlan(const MatchedIndex& matched, const Placement& placement,
                    int64_t packed_chunk_size, ChunkPlan& plan) {
  plan.chunks.clear();
  plan.nsp_offsets.assign(1, 0);
  for (int nsp = 0; nsp < placement.num_nsp(); ++nsp) {
    for (int expert = nsp; expert < placement.num_experts(); expert += placement.num_nsp()) {
      const int64_t end = matched.offsets[expert + 1];
      for (int64_t begin = matched.offsets[expert]; begin < end; begin += packed_chunk_size) {
        const int64_t chunk_end = end - begin > packed_chunk_size ? begin + packed_chunk_size : end;
        plan.chunks.push_back({expert, nsp, placement.SlotOf(expert), static_cast<int32_t>(begin),
                               static_cast<int32_t>(chunk_end)});
        if (chunk_end == end) break;  // begin + P may overflow when P is huge
      }
    }
    plan.nsp_offsets.push_back(static_cast<int32_t>(plan.chunks.size()));
  }
}

int64_t NumStaticChunks(int64_t num_tokens, int64_t packed_chunk_size) {
  return num_tokens / packed_chunk_size + (num_tokens % packed_chunk_size != 0 ? 1 : 0);
}

}  // namespace expertile
