// Attention of tiles of at most kFewPairs pairs (decode), and the partials of shared chunks.
// Not that of more pairs, nor how chunks are put together: attention.cu.
#pragma once

#include "targets/cuda/attention.h"

namespace expertile::cuda {

// `args.scores` is not null.
cudaError_t LaunchScores(const AttentionArgs& args, cudaStream_t stream);  // the first part alone
cudaError_t LaunchFewRowsAttention(const AttentionArgs& args, cudaStream_t stream);

}  // namespace expertile::cuda
