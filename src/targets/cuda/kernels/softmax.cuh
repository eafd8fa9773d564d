// A softmax that is taken block by block and put together chunk by chunk, in one order whoever
// takes the chunks. Not the products around it: attention.cu.
#pragma once

#include <cstdint>

namespace expertile::cuda {

inline constexpr float kLog2E = 1.44269504088896340736f;

// The running softmax of two pairs: the largest score so far (unscaled), and the sum: within a
// chunk this thread's part of it.
struct SoftmaxState {
  float largest[2];
  float sum[2];
  bool is_poisoned[2];  // sees a value that is not finite
};

__device__ inline SoftmaxState EmptySoftmax() {
  return {{-INFINITY, -INFINITY}, {0.0f, 0.0f}, {false, false}};
}

__device__ inline float ExpOf(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// A sink alone. An infinite one leaves the softmax without a value.
__device__ inline void BeginWithSink(float sink, float scale, float factor, float& largest,
                                     float& sum) {
  if (!(sink < INFINITY)) sum = NAN;
  if (!isfinite(sink)) return;
  largest = sink / scale;
  sum = ExpOf(sink * kLog2E - largest * factor);
}

// What the total so far and a chunk are multiplied by as they are put together. A chunk that saw
// nothing changes nothing.
struct Factors {
  float total;
  float chunk;
};
__device__ inline Factors PutTogether(float& largest, float& sum, float chunk_largest,
                                      float chunk_sum, float factor) {
  Factors factors{1.0f, 0.0f};
  if (chunk_largest != -INFINITY) {
    const float both = fmaxf(largest, chunk_largest);
    factors.total = largest == both ? 1.0f : ExpOf((largest - both) * factor);
    factors.chunk = chunk_largest == both ? 1.0f : ExpOf((chunk_largest - both) * factor);
    largest = both;
  }
  sum = fmaf(chunk_sum, factors.chunk, sum * factors.total);
  return factors;
}
__device__ inline float PutTogether(float total, float chunk, const Factors& factors) {
  return fmaf(chunk, factors.chunk, total * factors.total);
}

// A chunk's sum over its four threads.
__device__ inline float ChunkSum(const SoftmaxState& state, int i) {
  float sum = state.sum[i];
  sum += __shfl_xor_sync(0xffffffff, sum, 1);
  sum += __shfl_xor_sync(0xffffffff, sum, 2);
  return state.is_poisoned[i] ? NAN : sum;
}

// The largest of a pair's scores (the thread's i-th) and `largest`.
__device__ inline float LargestScore(const float (&scores)[32], int i, float largest) {
#pragma unroll
  for (int e = 0; e < 16; ++e) largest = fmaxf(largest, scores[e / 2 * 4 + 2 * i + e % 2]);
  largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
  return fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
}
// What all before is multiplied by once `largest` is the largest score. Exactly 1 where nothing
// larger came: a block that a pair does not see changes no bit of it.
__device__ inline float RescaleFactor(float before, float largest, float factor) {
  return largest == before ? 1.0f : ExpOf((before - largest) * factor);
}
// A pair's scores become probabilities; their sum over this thread's.
__device__ inline float TakeProbabilities(float (&scores)[32], int i, float largest, float factor) {
  const float base = largest == -INFINITY ? 0.0f : largest * factor;
  float sum = 0.0f;
#pragma unroll
  for (int e = 0; e < 16; ++e) {
    float& score = scores[e / 2 * 4 + 2 * i + e % 2];
    score = ExpOf(fmaf(score, factor, -base));
    sum += score;
  }
  return sum;
}

// Scores become probabilities; `rescale` is what all before is multiplied by.
__device__ inline void TakeSoftmax(float (&scores)[32], float factor, SoftmaxState& state,
                                   float (&rescale)[2]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float largest = LargestScore(scores, i, state.largest[i]);
    rescale[i] = RescaleFactor(state.largest[i], largest, factor);
    state.largest[i] = largest;
    const float sum = TakeProbabilities(scores, i, largest, factor);
    state.sum[i] = fmaf(state.sum[i], rescale[i], sum);
  }
}

// The sums of the chunks that are done, in shared memory.
template <int kHeadDim>
struct Totals {
  float4* memory;  // this thread's first; the others are `stride` apart
  int stride;
  bool is_empty = true;

  // The total of all chunks and this one, in `sums`.
  __device__ void Add(const SoftmaxState& chunk, float factor, SoftmaxState& total,
                      float (&sums)[kHeadDim / 2]) const {
    Factors factors[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      factors[i] =
          PutTogether(total.largest[i], total.sum[i], chunk.largest[i], ChunkSum(chunk, i), factor);
    }
#pragma unroll
    for (int block = 0; block < kHeadDim / 8; ++block) {
      const float4 t = is_empty ? float4{} : memory[block * stride];
      float* s = &sums[block * 4];
      s[0] = PutTogether(t.x, s[0], factors[0]);
      s[1] = PutTogether(t.y, s[1], factors[0]);
      s[2] = PutTogether(t.z, s[2], factors[1]);
      s[3] = PutTogether(t.w, s[3], factors[1]);
    }
  }
  __device__ void Keep(const float (&sums)[kHeadDim / 2]) {
    is_empty = false;
#pragma unroll
    for (int block = 0; block < kHeadDim / 8; ++block) {
      const float* s = &sums[block * 4];
      memory[block * stride] = {s[0], s[1], s[2], s[3]};
    }
  }
};

}  // namespace expertile::cuda
