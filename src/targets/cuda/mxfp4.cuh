// Expanding MXFP4 blocks to bfloat16 on the device, exactly as formats/mxfp4.h decodes them.
// Not the packing of codes: weight_packing.cc.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace expertile::cuda {

// Four pairs of codes of a word (PackMxfp4Word, tile_layout.h), with their bits in the places of a
// bfloat16's sign, lowest exponent bits and highest mantissa bit: the values times 2^-126, exactly.
__device__ inline void SpreadCodes(uint32_t word, uint32_t (&pairs)[4]) {
  constexpr uint32_t kMask = 0x81c081c0u;
  pairs[0] = word & kMask;
  pairs[1] = word << 3 & kMask;
  pairs[2] = word << 6 & kMask;
  pairs[3] = (word << 1 & 0x80008000u) | (word >> 5 & 0x01000100u) | (word >> 4 & 0x00c000c0u);
}

// The q-th of these pairs alone.
__device__ inline uint32_t SpreadPair(uint32_t word, int q) {
  const uint32_t last =
      (word << 1 & 0x80008000u) | (word >> 5 & 0x01000100u) | (word >> 4 & 0x00c000c0u);
  return q == 3 ? last : word << 3 * q & 0x81c081c0u;
}

__device__ inline uint32_t TimesPair(uint32_t pair, uint32_t factors) {
  uint32_t product;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(product) : "r"(pair), "r"(factors));
  return product;
}

struct Mxfp4Block {
  uint4 codes;
  uint32_t scale;  // E8M0: 2^(scale - 127), 255 is NaN
};

__device__ inline Mxfp4Block LoadBlock(uint32_t codes, uint32_t scale) {
  Mxfp4Block block;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(block.codes.x), "=r"(block.codes.y), "=r"(block.codes.z), "=r"(block.codes.w)
               : "r"(codes));
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(block.scale) : "r"(scale));
  return block;
}

// What a block's pairs are multiplied by, after SpreadCodes: twice the same bfloat16. Of a large
// scale, 2^126 times which is no bfloat16, pairs are multiplied by 2^126 first.
struct Mxfp4Factor {
  uint32_t pair;
  bool is_large;
};
inline constexpr uint32_t kTwoTo126 = 0x7e807e80u;

__device__ inline Mxfp4Factor FactorOf(uint32_t scale) {
  constexpr uint32_t kBias = 126;  // that of SpreadCodes
  const bool is_large = scale + kBias > 254;
  const uint32_t factor = is_large ? (scale == 255 ? 0x7fc0u : scale << 7) : (scale + kBias) << 7;
  return {factor | factor << 16, is_large};
}

// Writes a block's 32 elements as four swizzled 16-byte chunks, from `chunk` on, of a tile's row
// whose index mod 8 is `swizzle`.
__device__ inline void ExpandBlock(const Mxfp4Block& block, uint32_t row, int chunk, int swizzle) {
  const uint32_t words[4] = {block.codes.x, block.codes.y, block.codes.z, block.codes.w};
  const Mxfp4Factor factor = FactorOf(block.scale);
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    uint32_t pairs[4];
    SpreadCodes(words[w], pairs);
    if (factor.is_large) {
#pragma unroll
      for (uint32_t& pair : pairs) pair = TimesPair(pair, kTwoTo126);
    }
#pragma unroll
    for (uint32_t& pair : pairs) pair = TimesPair(pair, factor.pair);
    asm volatile(
        "st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(row + ((chunk + w ^ swizzle) << 4)),
        "r"(pairs[0]), "r"(pairs[1]), "r"(pairs[2]), "r"(pairs[3])
        : "memory");
  }
}

}  // namespace expertile::cuda
