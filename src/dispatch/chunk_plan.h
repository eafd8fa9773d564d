// ChunkPlan: each NSP's work in a MoE layer, as chunks of at most P packed rows of one expert.
// Not a thread schedule: which worker runs an NSP is the target's business.
#pragma once

#include <cstdint>
#include <vector>

#include "dispatch/matched_index.h"
#include "dispatch/placement.h"

namespace expertile {

struct Chunk {
  int32_t expert;
  int32_t nsp;
  int32_t slot;
  int32_t begin;  // rows [begin, end) of MatchedIndex::assignments, 1 to P of them
  int32_t end;
};

struct ChunkPlan {
  std::vector<Chunk> chunks;  // NSP by NSP, in each slot by slot, in each from its first row on
  std::vector<int32_t> nsp_offsets;  // [N+1], into chunks
};

// No empty chunk, no lost tail. packed_chunk_size P >= 1; `plan`'s storage is used again.
void BuildChunkPlan(const MatchedIndex& matched, const Placement& placement,
                    int64_t packed_chunk_size, ChunkPlan& plan);

// Chunks of a static graph, which must provide for every token choosing one expert: ceil(T/P).
int64_t NumStaticChunks(int64_t num_tokens, int64_t packed_chunk_size);

}  // namespace expertile
