// AutoBlocking: how a MoE layer is best blocked on a CPU, which is what the word auto
// stands for. Not a measurement: `expertile bench moe --sweep` is, and holds this to it.
#pragma once

#include <cstdint>

namespace expertile {

struct AutoBlocking {
  int num_nsp;                // N
  int64_t packed_chunk_size;  // P
};

// K, T, H, I and the number format made no difference that was measured.
AutoBlocking ChooseBlocking(int num_experts, int num_workers);

}  // namespace expertile
