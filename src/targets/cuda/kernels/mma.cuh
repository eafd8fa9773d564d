// Pairs of bfloat16, and a warp's product of them, for few rows. Not a warpgroup's: wgmma.cuh.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace expertile::cuda {

// Two floats rounded to a pair.
__device__ inline uint32_t PackPair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// sums += a b: a is 16 by 16, b 16 by 8, of bfloat16 pairs, in the places that mma.m16n8k16 has for
// a thread. A thread's sums are two neighbours of row lane / 4, then two of the row 8 further on.
__device__ inline void MultiplyAdd(uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                   uint32_t b1, float (&sums)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

}  // namespace expertile::cuda
