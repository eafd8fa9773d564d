// AutoBlocking: how a MoE layer of one shape is best blocked on a CPU, which is what the word auto
// stands for. Not a measurement: `expertile bench moe --sweep` is, and holds this to it.
#pragma once

#include <cstdint>

namespace expertile {

// What the choice depends on. H, I and the number format made no difference that was measured.
struct MoeLayerShape {
  int num_experts;        // E
  int experts_per_token;  // K
  int64_t num_tokens;     // T, rows of a step
  int num_workers;
};

struct AutoBlocking {
  int num_nsp;                // N
  int64_t packed_chunk_size;  // P
};

AutoBlocking ChooseBlocking(const MoeLayerShape& shape);

}  // namespace expertile
