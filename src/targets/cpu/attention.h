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
  // A segment as the kernels read it; positions count from its first.
  struct Segment {
    int64_t begin = 0;                                    // position in the sequence
    bool is_float32;                                      // else bfloat16 pairs
    int64_t depth_bytes;                                  // of a position in a panel of values
    bool has_non_finite;                                  // values, perhaps
    std::array<const std::byte*, kSegmentSize / 8> keys;  // panels [D][NR], by strip
    // Panel n of the values at positions [run run_size, (run + 1) run_size) is at
    // values[run] + n * value_stride.
    int64_t run_size;
    int64_t value_stride;
    std::array<const std::byte*, kSegmentSize / kKvBlockSize> values;
  };
  struct WorkerScratch {
    std::vector<Tile> tiles;                 // of a piece
    AlignedBuffer<std::byte> queries;        // of a piece's tiles
    AlignedBuffer<float> sums;               // likewise
    AlignedBuffer<float> scores;             // [kSegmentSize/NR][MR][NR]
    AlignedBuffer<std::byte> probabilities;  // packed tile, depth kSegmentSize
    AlignedBuffer<float> part;               // [ceil(D/NR)][MR][NR], a segment's sums
    AlignedBuffer<std::byte> keys;           // expanded: [kSegmentSize/NR] panels of D k-values
    AlignedBuffer<std::byte> values;         // expanded: [ceil(D/NR)] panels of kSegmentSize
    AlignedBuffer<std::byte> seen;           // a panel of values as one pair sees it
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
  Segment ViewSegment(const AttentionPass& pass, const KvCache& cache, const AttentionPiece& piece,
                      int64_t segment, WorkerScratch& scratch) const;
  void ViewKeys(const KvCache& cache, BlockTable blocks, int head, KeySpan seen, bool is_expanded,
                Segment& segment, WorkerScratch& scratch) const;
  void ViewValues(const KvCache& cache, BlockTable blocks, int head, KeySpan seen, bool is_expanded,
                  Segment& segment, WorkerScratch& scratch) const;
  void ComputePart(const AttentionPass& pass, const KvCache& cache, const Tile& tile,
                   const Segment& segment, Part part, WorkerScratch& scratch) const;
  // part.sums = probabilities x values over `keys` of the segment.
  void AddValues(const Segment& segment, KeySpan keys, int num_pairs, int64_t num_panels,
                 float* sums, const WorkerScratch& scratch) const;
  // The same pair by pair, each with zeros for the values that it does not see: where they are
  // finite the same bits as AddValues, as 0 * value is 0.
  void AddSeenValues(const Segment& segment, KeySpan keys, std::span<const KeyRange> valid,
                     int64_t num_panels, float* sums, WorkerScratch& scratch) const;
  // Copies the positions of a panel of values, with zeros outside of `seen`.
  void CopySeen(const Segment& segment, const std::byte* panel, int64_t depth, KeySpan seen,
                std::byte* out) const;
  const std::array<TileKernel, kMaxTileRows + 1>& TileKernels(const Segment& segment) const {
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
