// Expanding MXFP4 codes to bfloat16 on the device, exactly as formats/mxfp4.h decodes them, to the
// operands of wgmma and mma.sync. Not the packing of codes: weight_packing.cc.
#pragma once

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

__device__ inline uint32_t TimesPair(uint32_t pair, uint32_t factors) {
  uint32_t product;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(product) : "r"(pair), "r"(factors));
  return product;
}

// A thread's codes of 64 of the depth, and their scales (TileLayout): as four operands of 16 by 16,
// one a word. Scales are E8M0, 2^(scale - 127), 255 is NaN: of two columns, 8 apart, in two blocks
// of 32.
class Mxfp4Step {
 public:
  Mxfp4Step() = default;
  // From where they lie in shared memory.
  __device__ Mxfp4Step(uint32_t words, uint32_t scales) {
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words_[0]), "=r"(words_[1]), "=r"(words_[2]), "=r"(words_[3])
                 : "r"(words));
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(scales_) : "r"(scales));
    FindFactors();
  }

  __device__ void Expand(uint32_t (&operands)[4][4]) const {
#pragma unroll
    for (int step = 0; step < 4; ++step) ExpandSmall(step, operands[step]);
    if (are_small_) return;
#pragma unroll
    for (int step = 0; step < 4; ++step) Raise(step, operands[step]);
  }

 private:
  __device__ uint32_t Scale(int i) const { return scales_ >> 8 * i & 255u; }
  __device__ bool IsLarge(int i) const { return Scale(i) > 128; }
  // The scale of an operand's i-th pair.
  __device__ static constexpr int ScaleOf(int step, int i) { return i % 2 * 2 + step / 2; }

  // 2^126 times each scale, twice the same bfloat16; of a large one, where no bfloat16 is that, the
  // scale itself.
  __device__ void FindFactors() {
    constexpr uint32_t kTwice = 0x00800080u;  // an exponent's place in both halves
    are_small_ = (scales_ & 0x80808080u) == 0;
    if (are_small_) {
#pragma unroll
      for (int i = 0; i < 4; ++i) factors_[i] = (Scale(i) + 126) * kTwice;
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      factors_[i] = (Scale(i) + (IsLarge(i) ? 0 : 126)) * kTwice;
      if (Scale(i) == 255) factors_[i] |= 0x00400040u;
    }
  }
  __device__ void ExpandSmall(int step, uint32_t (&operand)[4]) const {
    SpreadCodes(words_[step], operand);
#pragma unroll
    for (int i = 0; i < 4; ++i) operand[i] = TimesPair(operand[i], factors_[ScaleOf(step, i)]);
  }
  // What large scales still lack.
  __device__ void Raise(int step, uint32_t (&operand)[4]) const {
    constexpr uint32_t kTwoTo126 = 0x7e807e80u;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (IsLarge(ScaleOf(step, i))) operand[i] = TimesPair(operand[i], kTwoTo126);
    }
  }

  uint32_t words_[4];
  uint32_t scales_;
  uint32_t factors_[4];
  bool are_small_;  // scales below 128, all of them, as they nearly always are
};

}  // namespace expertile::cuda
