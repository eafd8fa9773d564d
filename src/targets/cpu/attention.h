// Attention over the CPU target's KV cache: softmax segment of keys by segment of keys, on the tile
// kernels. Not the projections around it, nor RoPE; who does which part: attention_plan.h.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/worker_pool.h"
#include "expertile/result.h"
#include "targets/cpu/attention_plan.h"
#include "targets/cpu/attention_segment.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kv_cache.h"

namespace expertile::cpu {

struct AttentionPass {
  int64_t window;                      // keys a query sees, itself included; 0 = all before it
  float scale;                         // multiplies query-key products
  const float* sinks;                  // [heads], logits that join the softmax's sum only; or null
  const float* query;                  // [T, heads D]
  int64_t num_heads;                   // a multiple of the cache's kv heads
  std::span<const int32_t> sequences;  // [T], indices of block_tables
  std::span<const int32_t> positions;  // [T]; their keys and values are in the cache
  std::span<const BlockTable> block_tables;  // [S]
  float* mixed;                              // [T, heads D], the result
};

// Owns the scratch; one Run at a time. Products are in the compute type; over a float32 cache in
// float32. A key that a row does not see leaves its bits as they are, whatever its value, NaN and
// infinity included: so a row's result depends on its own position only.
class BlockAttention {
 public:
  // For caches of shapes no larger than `cache`'s, and of its format. Errors: out of memory.
  static Result<BlockAttention> Create(const KernelTable& table, ComputeType type,
                                       const KvCache& cache, int num_workers);

  void Run(const AttentionPass& pass, const KvCache& cache, WorkerPool& pool);

 private:
  // Up to MR (row, head) pairs of a piece.
  struct Tile {
    int num_pairs;
    std::array<int32_t, kMaxTileRows> heads;  // row * num_heads + head
    std::array<KeySpan, kMaxTileRows> seen;
    std::array<SoftmaxState, kMaxTileRows> states;
    KeySpan all;       // what any of them sees
    std::byte* query;  // packed, depth D
    float* sums;       // [ceil(D/NR)][num_pairs][NR]
  };
  // What a tile has of a segment, from its scores to its probabilities.
  struct Stage {
    Tile* tile;
    KeySpan keys;    // of the segment: from a panel's first to the last that any pair sees, even
    int num_panels;  // of keys
    std::array<KeyRange, kMaxTileRows> valid;
    std::array<SoftmaxState, kMaxTileRows> states;
    AlignedBuffer<float> scores;             // [kSegmentSize/NR][MR][NR]
    AlignedBuffer<std::byte> probabilities;  // packed tile, depth kSegmentSize
    SoftmaxWork softmax;                     // of the above
  };
  struct WorkerScratch {
    WorkerScratch(const KernelTable& table, const GemmKernels& kernels) : reader(table, kernels) {}

    SegmentReader reader;
    SegmentFetch fetch;
    std::vector<Tile> tiles;           // of a piece
    AlignedBuffer<std::byte> queries;  // of a piece's tiles
    AlignedBuffer<float> sums;         // likewise
    std::array<Stage, 2> stages;       // of a tile and the one before it
    AlignedBuffer<float> part;         // [ceil(D/NR)][MR][NR], a segment's sums
    AlignedBuffer<std::byte> seen;     // a panel of values as one pair sees it
  };
  // What a tile and a segment give.
  struct Part {
    SoftmaxState* states;  // [MR]
    float* sums;           // [ceil(D/NR)][num_pairs][NR]
  };

  BlockAttention(const KernelTable& table, const GemmKernels& kernels)
      : table_(&table), kernels_(&kernels) {}
  bool Reserve(WorkerScratch& scratch, const KvCache& cache) const;
  void Plan(const AttentionPass& pass, const KvCache& cache, int num_workers);
  void RunPiece(const AttentionPass& pass, const KvCache& cache, const AttentionPiece& piece,
                WorkerScratch& scratch);
  void Merge(const AttentionPass& pass, const KvCache& cache, const AttentionPiece& piece,
             WorkerScratch& scratch);
  // Makes the scratch's tiles, without queries and sums.
  void ListTiles(const AttentionPass& pass, const KvCache& cache, const AttentionPiece& piece,
                 WorkerScratch& scratch) const;
  // `next` of a tile that is alone is what its kernels read after this call's panel.
  Prefetch TakeFetch(const KeySegment& segment, int64_t depth, const std::byte* next,
                     WorkerScratch& scratch) const;
  // Adds the segment to the sums of all tiles of a piece.
  void AddSegment(const AttentionPass& pass, const KvCache& cache, const KeySegment& segment,
                  WorkerScratch& scratch) const;
  void AddPart(const KeySegment& segment, const KvCache& cache, Stage& stage,
               WorkerScratch& scratch) const;
  void ComputePart(const AttentionPass& pass, const KvCache& cache, Tile& tile,
                   const KeySegment& segment, Part part, WorkerScratch& scratch) const;
  // Readies the stage for a tile of which some pair sees keys of the segment.
  void Begin(const KeySegment& segment, float scale, Tile& tile, SoftmaxState* states,
             Stage& stage) const;
  // The stage's scores; beside them rows of `before`, if it is not null.
  void AddScores(const KeySegment& segment, int64_t head_dim, SoftmaxWork* before, Stage& stage,
                 WorkerScratch& scratch) const;
  // Finishes the stage's softmax.
  void Weigh(SoftmaxWork& softmax) const;
  // sums = probabilities x values over the stage's keys of the segment.
  void AddValues(const KeySegment& segment, Stage& stage, int64_t num_panels, float* sums,
                 WorkerScratch& scratch) const;
  // The same, where there are kernels for it.
  void AddValuesInRuns(const KeySegment& segment, const Stage& stage, int64_t num_panels,
                       float* sums, WorkerScratch& scratch) const;
  // The same pair by pair, each with zeros for the values that it does not see: where they are
  // finite the same bits as AddValues, as 0 * value is 0.
  void AddSeenValues(const KeySegment& segment, Stage& stage, int64_t num_panels, float* sums,
                     WorkerScratch& scratch) const;
  // Copies the positions of a panel of values, with zeros outside of `seen`.
  void CopySeen(const KeySegment& segment, const std::byte* panel, int64_t depth, KeySpan seen,
                std::byte* out) const;
  const std::array<TileKernel, kMaxTileRows + 1>& TileKernels(const KeySegment& segment) const {
    return segment.is_float32 ? kernels_->float32 : kernels_->bfloat16;
  }
  Part PartAt(int64_t number, const KvCache& cache);

  const KernelTable* table_;
  const GemmKernels* kernels_;
  std::vector<WorkerScratch> workers_;
  AttentionPlan plan_;
  AlignedBuffer<float> parts_;  // [num_parts] of [ceil(D/NR)][MR][NR] sums and [MR] states
};

}  // namespace expertile::cpu
