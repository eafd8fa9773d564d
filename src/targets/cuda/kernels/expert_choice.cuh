// Which experts a token goes to and with which weights, by a warp: what SelectExperts
// (targets/router.h) does. Not the index or the plan of a layer: routing.cu.
#pragma once

#include "targets/cuda/kernels/routing.h"

namespace expertile::cuda {

inline constexpr unsigned kAllLanes = 0xffffffff;

// A key whose order is that of RanksBefore (targets/router.cc) but for equals: numbers by size, NaN
// below all; 0 is below all keys.
__device__ inline uint32_t RankKey(float value) {
  const uint32_t bits = __float_as_uint(value + 0.0f);  // -0 equals 0
  if (isnan(value)) return 1;
  return ((bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u) + 1;
}

__device__ inline float WarpMax(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  }
  return x;
}

__device__ inline float WarpSum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

// softmax of values [count] in place by one warp.
__device__ inline void Softmax(float* values, int count, int lane) {
  float largest = -INFINITY;
  for (int i = lane; i < count; i += 32) largest = fmaxf(largest, values[i]);
  largest = WarpMax(largest);
  float sum = 0.0f;
  for (int i = lane; i < count; i += 32) {
    values[i] = expf(values[i] - largest);
    sum += values[i];
  }
  sum = WarpSum(sum);
  for (int i = lane; i < count; i += 32) values[i] /= sum;
  __syncwarp();
}

// A token's scores, those of expert lane + 32 j in a lane's j-th.
template <int kPerLane>
struct Scores {
  float values[kPerLane];
  int count;  // of the lane
  int lane;

  __device__ Scores(const float* logits, int num_experts, int lane)
      : count((num_experts - lane + 31) / 32), lane(lane) {
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
      values[j] = j < count ? logits[lane + 32 * j] : -INFINITY;
    }
  }
  // No NaN, no +inf, and not -inf alone.
  __device__ bool HasSoftmax() const {
    bool has_nan = false;
    float largest = -INFINITY;
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
      has_nan = has_nan || isnan(values[j]);
      largest = fmaxf(largest, values[j]);
    }
    return !__any_sync(kAllLanes, has_nan) && isfinite(WarpMax(largest));
  }
  __device__ void TakeSoftmax() {
    float largest = -INFINITY;
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) largest = fmaxf(largest, values[j]);
    largest = WarpMax(largest);
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
      values[j] = j < count ? expf(values[j] - largest) : 0.0f;
      sum += values[j];
    }
    sum = WarpSum(sum);
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) values[j] /= sum;
  }
  // The K first of the ranking, equals by lower index.
  __device__ void TakeTopK(int K, int32_t* ids, float* weights) const {
    uint32_t keys[kPerLane];
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) keys[j] = j < count ? RankKey(values[j]) : 0;
    for (int k = 0; k < K; ++k) {
      uint32_t best = 0;
      int index = 1 << 30;
      float value = 0.0f;
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) {
        if (keys[j] <= best) continue;
        best = keys[j];
        index = lane + 32 * j;
        value = values[j];
      }
      bool is_mine = best == __reduce_max_sync(kAllLanes, best);
      if (__popc(__ballot_sync(kAllLanes, is_mine)) > 1) {  // equals
        is_mine = index == __reduce_min_sync(kAllLanes, is_mine ? index : 1 << 30);
      }
      if (!is_mine) continue;
      ids[k] = index;
      weights[k] = value;
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) keys[j] = lane + 32 * j == index ? 0 : keys[j];
    }
    __syncwarp();
  }
};

// The choice of one token by one warp; ids and weights [K] are in shared memory.
template <int kPerLane>
__device__ void ChooseExperts(const RouteArgs& args, int64_t token, int lane, int32_t* ids,
                              float* weights) {
  const int K = args.experts_per_token;
  Scores<kPerLane> scores(args.logits + token * args.logits_stride, args.num_experts, lane);
  if (!scores.HasSoftmax()) {
    scores.TakeTopK(K, ids, weights);
    for (int k = lane; k < K; k += 32) weights[k] = NAN;
  } else if (args.score == RouterScore::kTopKThenSoftmax) {
    scores.TakeTopK(K, ids, weights);
    Softmax(weights, K, lane);
  } else {
    scores.TakeSoftmax();
    scores.TakeTopK(K, ids, weights);
    if (args.normalize) {
      float sum = 0.0f;
      for (int k = 0; k < K; ++k) sum += weights[k];
      __syncwarp();
      for (int k = lane; k < K; k += 32) weights[k] /= sum;
    }
  }
  for (int k = lane; k < K; k += 32) {
    args.ids[token * K + k] = ids[k];
    args.weights[token * K + k] = weights[k];
  }
}

}  // namespace expertile::cuda
