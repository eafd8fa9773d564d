// The CUDA target's routing: the choice of experts, the matched index and the list of row tiles,
// all made on the device. Not the kernels (routing.cu), nor what the index and the plan are
// (dispatch/).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "model/decoder_spec.h"
#include "targets/cuda/kernels/gemm.h"
#include "targets/cuda/kernels/tile_layout.h"

namespace expertile::cuda {

inline constexpr int kMaxExperts = 1024;
inline constexpr int kMaxExpertsPerToken = 512;

// What SelectExperts (targets/router.h) does, for every token.
struct RouteArgs {
  const float* logits = nullptr;  // [T, logits_stride]
  int64_t logits_stride = 0;
  int64_t num_tokens = 0;
  int num_experts = 0;        // E
  int experts_per_token = 0;  // K
  RouterScore score = RouterScore::kSoftmaxThenTopK;
  bool normalize = false;
  int32_t* ids = nullptr;    // [T,K]
  float* weights = nullptr;  // [T,K]
};

// What is made of the ids.
struct PlanArgs {
  int num_nsp = 1;
  int64_t packed_chunk_size = 0;  // 0: no limit
  int tile_rows = 0;              // a multiple of 8
  bool has_even_tiles = false;  // a chunk's have about as many rows each; else all but one are full
  // Scratch. Of each expert and 32 tokens, which of these chose it: bits [NumTokenBlocks, E].
  uint32_t* marks = nullptr;
  // Likewise, written and read where these are many: how often tokens before them did, and all.
  int32_t* before = nullptr;       // [NumTokenBlocks, E]
  int32_t* counts = nullptr;       // [E]
  int32_t* assignments = nullptr;  // [T K]: MatchedIndex::assignments
  int32_t* offsets = nullptr;      // [E+1]: MatchedIndex::offsets
  RowTile* row_tiles = nullptr;    // [MaxRowTiles]: NSP by NSP, slot by slot, chunks in order
  int32_t* nsp_offsets = nullptr;  // [N+1], into row_tiles
  int32_t* claims = nullptr;       // [2N] zeros: GemmArgs::claims of both products
  unsigned long long* nsp_rows = nullptr;  // [N], added to; or null
};

// As many row tiles as there can be.
int64_t MaxRowTiles(int64_t num_assignments, int num_experts, int64_t packed_chunk_size,
                    int tile_rows);
// As many rows as all chunks take where each begins at a multiple of 8.
int64_t MaxStoredRows(int64_t num_assignments, int num_experts, int64_t packed_chunk_size);

// Tokens whose choices are the bits of a word, and how many times that there are.
inline constexpr int kTokenBlock = 32;
constexpr int64_t NumTokenBlocks(int64_t num_tokens) {
  return RoundUp(num_tokens, kTokenBlock) / kTokenBlock;
}

cudaError_t LaunchRouting(const RouteArgs& route, const PlanArgs& plan, cudaStream_t stream);

}  // namespace expertile::cuda
