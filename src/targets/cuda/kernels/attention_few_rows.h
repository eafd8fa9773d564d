// Attention of tiles of at most kFewPairs pairs (decode).
// Not that of more pairs: attention.cu.
#pragma once

#include "targets/cuda/kernels/attention.h"

namespace expertile::cuda {

// `args.tickets` is not null, with all that this asks for (AttentionArgs).
cudaError_t LaunchFewRowsAttention(const AttentionArgs& args, cudaStream_t stream);

}  // namespace expertile::cuda
