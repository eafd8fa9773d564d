// The CUDA target's routing: the choice of experts, the matched index and the list of row tiles,
// all made on the device. The kernels are routing.cu; dispatch/ says what the index and the plan
// are.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "model/decoder_spec.h"
#include "targets/cuda/gemm.h"

namespace expertile::cuda {

inline constexpr int kTokensPerRouteBlock = 32;
inline constexpr int kMaxExperts = 1024;

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

// What SelectExperts (targets/router.h) does, for every token.
cudaError_t LaunchRoute(const RouteArgs& args, cudaStream_t stream);

struct PlanArgs {
  const int32_t* ids = nullptr;  // [T,K], distinct in a row, each in [0,E)
  int64_t num_tokens = 0;
  int num_experts = 0;
  int experts_per_token = 0;
  int num_nsp = 1;
  int64_t packed_chunk_size = 0;  // 0: no limit
  int tile_rows = 0;
  int32_t* block_counts = nullptr;  // [E, blocks of kTokensPerRouteBlock tokens]: scratch
  int32_t* assignments = nullptr;   // [T K]: MatchedIndex::assignments
  int32_t* offsets = nullptr;       // [E+1]: MatchedIndex::offsets
  RowTile* row_tiles = nullptr;     // [MaxRowTiles]: NSP by NSP, slot by slot, chunks in order
  int32_t* nsp_offsets = nullptr;   // [N+1], into row_tiles
  unsigned long long* nsp_rows = nullptr;  // [N], added to; or null
};

// As many row tiles as there can be.
int64_t MaxRowTiles(int64_t num_assignments, int num_experts, int64_t packed_chunk_size,
                    int tile_rows);

cudaError_t LaunchPlan(const PlanArgs& args, cudaStream_t stream);

}  // namespace expertile::cuda
