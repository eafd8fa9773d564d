// How few rows' chunks, each of another block of threads, are put together, in order.
// Not what a chunk is: attention_few_rows.cu.
#pragma once

#include "targets/cuda/kernels/attention_few_rows.cuh"
#include "targets/cuda/kernels/barriers.cuh"
#include "targets/cuda/kernels/softmax.cuh"

namespace expertile::cuda::few_pairs {

// A chunk of a pair: two sums, of the head dimension's elements d and d + 1, and its softmax.
struct ChunkPart {
  float2 sums;
  float2 end;  // the largest score, the sum
};

// Of a thread: its first element, whose pairs are lane / 4 and 8 more.
__device__ inline int ElementOfThread(const ChunkWork& work) {
  return work.slice * kSlice + static_cast<int>(threadIdx.x) / 32 * 8 +
         2 * (static_cast<int>(threadIdx.x) % 4);
}

// What earlier chunks left, so many at a time, of pairs whose rows begin in different banks: sums
// of the slice, then the largest score and the sum.
inline constexpr int kChunksAtOnce = 16;
using Parts = float[kChunksAtOnce][kFewPairs][kSlice + 4];

// A pair's chunks put together in order.
struct Total {
  float2 sums = {};
  float largest = -INFINITY;
  float sum = 0.0f;

  __device__ void Add(const ChunkPart& part, float factor) {
    const Factors factors = PutTogether(largest, sum, part.end.x, part.end.y, factor);
    sums = {PutTogether(sums.x, part.sums.x, factors), PutTogether(sums.y, part.sums.y, factors)};
  }
};

// Of each of a thread's pairs.
__device__ inline void BeginTotals(const AttentionArgs& args, const Pairs& pairs,
                                   Total (&totals)[2]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (args.sinks == nullptr || pairs.row[i] < 0) continue;
    BeginWithSink(args.sinks[pairs.head[i]], args.scale, args.scale * kLog2E, totals[i].largest,
                  totals[i].sum);
  }
}

__device__ inline void StoreTotals(const AttentionArgs& args, const ChunkWork& work,
                                   const Pairs& pairs, const Total (&totals)[2]) {
  const int d = ElementOfThread(work);
  if (d >= args.cache.head_dim) return;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (pairs.row[i] < 0) continue;
    const float inverse = 1.0f / totals[i].sum;
    *reinterpret_cast<uint32_t*>(args.mixed + pairs.row[i] * args.mixed_stride +
                                 pairs.head[i] * args.cache.head_dim + d) =
        PackPair(totals[i].sums.x * inverse, totals[i].sums.y * inverse);
  }
}

// Chunks [first, first + count) of the tile's pairs to shared memory.
__device__ inline void FetchParts(const AttentionArgs& args, const ChunkWork& work, int first,
                                  int count, Parts& parts) {
  constexpr int kPieces = kSlice / 4 + 1;  // of 16 bytes, the last one with the softmax
  const int pairs = work.at.tile.num_pairs;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < count * kFewPairs * kPieces; i += kThreads) {
    const int chunk = i / (kFewPairs * kPieces);
    const int pair = i / kPieces % kFewPairs;
    const int piece = i % kPieces;
    if (pair >= pairs) continue;
    const int offset =
        piece < kSlice / 4 ? work.slice * kSlice + piece * 4 : args.cache.padded_head_dim;
    CopyChunk(SharedAddress(&parts[chunk][pair][piece * 4]),
              PartialOf(args, work.at.index, first + chunk, pair) + offset);
  }
  CommitCopies();
  WaitForCopies<0>();
  __syncthreads();
}

// A chunk's sums to memory. Whether it is the last of the slice's chunks, which puts all together.
// `num_done` is shared memory.
__device__ inline bool ShareChunk(const AttentionArgs& args, const ChunkWork& work,
                                  const Pairs& pairs, const ChunkPart (&parts)[2], int& num_done) {
  const auto thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (thread >= 32 * kParts || pairs.row[i] < 0) continue;
    float* partial = PartialOf(args, work.at.index, work.chunk, thread % 32 / 4 + 8 * i);
    *reinterpret_cast<float2*>(partial + ElementOfThread(work)) = parts[i].sums;
    // Every slice's are the same.
    if (thread < 32 && thread % 4 == 0) {
      *reinterpret_cast<float2*>(partial + args.cache.padded_head_dim) = parts[i].end;
    }
  }
  __syncthreads();
  if (thread == 0) {
    __threadfence();
    num_done = atomicAdd(TicketOf(args, work), 1);
    __threadfence();
  }
  __syncthreads();
  return num_done == work.EndChunk() - work.FirstChunk() - 1;
}

// All chunks of the slice, by their last one. `parts` is memory that nobody reads any more.
__device__ inline void PutChunksTogether(const AttentionArgs& args, const ChunkWork& work,
                                         const Pairs& pairs, Parts& parts) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int column = static_cast<int>(threadIdx.x) / 32 % kParts * 8 + lane % 4 * 2;
  Total totals[2];
  BeginTotals(args, pairs, totals);
#pragma unroll 1
  for (int first = work.FirstChunk(); first < work.EndChunk(); first += kChunksAtOnce) {
    const int count = min(kChunksAtOnce, work.EndChunk() - first);
    if (first > work.FirstChunk()) __syncthreads();
    FetchParts(args, work, first, count, parts);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (pairs.row[i] < 0) continue;
#pragma unroll 2
      for (int chunk = 0; chunk < count; ++chunk) {
        const float* part = parts[chunk][lane / 4 + 8 * i];
        totals[i].Add({*reinterpret_cast<const float2*>(part + column),
                       *reinterpret_cast<const float2*>(part + kSlice)},
                      args.scale * kLog2E);
      }
    }
  }
  if (threadIdx.x < 32 * kParts) StoreTotals(args, work, pairs, totals);
}

}  // namespace expertile::cuda::few_pairs
