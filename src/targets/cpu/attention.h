// Attention over the CPU target's KV cache: online softmax, key block by key block, on the tile
// kernels. Not the projections around it, nor RoPE.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/worker_pool.h"
#include "expertile/result.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kv_cache.h"

namespace expertile::cpu {

struct AttentionPass {
  int layer;
  int64_t window;                      // keys a query sees, itself included; 0 = all before it
  float scale;                         // multiplies query-key products
  const float* sinks;                  // [heads], logits that join the softmax's sum only; or null
  const float* query;                  // [T, heads D]
  int64_t num_heads;                   // a multiple of the cache's kv heads
  std::span<const int32_t> sequences;  // [T]
  std::span<const int32_t> positions;  // [T]; their keys and values are in the cache
  float* mixed;                        // [T, heads D], the result
};

// Owns the scratch; one Run at a time. Key blocks begin at multiples of their size, whatever the
// chunk, and a key that a row does not see leaves its bits as they are, whatever its value, NaN and
// infinity included: so a row's result depends on its own position only.
class BlockAttention {
 public:
  // For caches of the shape of `cache`. Errors: out of memory.
  static Result<BlockAttention> Create(const KernelTable& table, const KvCache& cache,
                                       int num_workers);

  void Run(const AttentionPass& pass, const KvCache& cache, WorkerPool& pool);

 private:
  // Up to MR (row, head) pairs of one sequence that share a kv head.
  struct Tile {
    int64_t sequence;
    int kv_head;
    int64_t first_row;
    int64_t first_pair;  // pairs (row, head of the group), numbered row by row from first_row on
    int num_pairs;
  };
  struct WorkerScratch {
    AlignedBuffer<std::byte> query;          // packed tile, depth D
    AlignedBuffer<std::byte> probabilities;  // packed tile, depth NR
    AlignedBuffer<float> scores;             // [MR, NR]
    AlignedBuffer<float> sums;               // [ceil(D/NR)][MR, NR]
    AlignedBuffer<float> decoded;            // a block of keys or values, if the cache encodes them
    AlignedBuffer<float> seen;               // [NR, NR], a value panel as one pair sees it
  };

  explicit BlockAttention(const KernelTable& table) : table_(&table) {}
  void ListTiles(const AttentionPass& pass, int num_kv_heads);
  void RunTile(const AttentionPass& pass, const KvCache& cache, const Tile& tile,
               WorkerScratch& scratch) const;
  // scratch.sums += scratch.scores (probabilities now) x `values`, a block's panels.
  void AddValues(const float* values, int64_t num_panels, int num_pairs,
                 WorkerScratch& scratch) const;
  // The same pair by pair, each with zeros for the values that it does not see: where they are
  // finite the same bits as AddValues, as 0 * value is 0.
  void AddSeenValues(const float* values, int64_t num_panels, std::span<const KeyRange> valid,
                     WorkerScratch& scratch) const;
  void StoreMixed(const AttentionPass& pass, int64_t head_dim, std::span<const int32_t> heads,
                  std::span<const SoftmaxState> states, const float* sums) const;

  const KernelTable* table_;
  std::vector<WorkerScratch> workers_;
  std::vector<Tile> tiles_;
};

}  // namespace expertile::cpu
