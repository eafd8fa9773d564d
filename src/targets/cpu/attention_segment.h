// A segment of a sequence's keys and values as the tile kernels read it: where it lies in the
// cache, or expanded. Not what is computed with it: attention.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "model/step.h"
#include "targets/cpu/attention_plan.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kv_cache.h"

namespace expertile::cpu {

static_assert(kSegmentSize % kKvBlockSize == 0);

// The keys and values of one head of a sequence.
struct KvHead {
  const KvCache* cache;
  BlockTable blocks;
  int head;
};

// Positions count from the segment's first.
struct KeySegment {
  int64_t begin;                                        // of its positions in the sequence
  bool is_expanded;                                     // else it lies in the cache
  bool is_float32;                                      // else bfloat16 pairs
  bool has_non_finite;                                  // values, perhaps
  int64_t depth_bytes;                                  // of a k-value of a panel
  std::array<const std::byte*, kSegmentSize / 8> keys;  // panels [D][NR], by strip
  // Panel n of the values at positions [run run_size, (run + 1) run_size) is at
  // values[run] + n * value_stride.
  int64_t run_size;
  int64_t value_stride;
  std::array<const std::byte*, kSegmentSize / kKvBlockSize> values;
};

// Makes segments readable, one at a time. Owns what it expands them to.
class SegmentReader {
 public:
  SegmentReader(const KernelTable& table, const GemmKernels& kernels)
      : table_(&table), kernels_(&kernels) {}
  // For caches of shapes no larger than `cache`'s. False if out of memory.
  bool Reserve(const KvCache& cache);

  // Positions `seen` of the segment that begins at `begin`, for one tile or several: several share
  // what is expanded.
  KeySegment Read(const KvHead& kv, int64_t begin, KeySpan seen, bool is_shared);

 private:
  void ReadKeys(const KvHead& kv, KeySpan seen, KeySegment& segment);
  void ReadValues(const KvHead& kv, KeySpan seen, KeySegment& segment);

  const KernelTable* table_;
  const GemmKernels* kernels_;
  AlignedBuffer<std::byte> keys_;    // [kSegmentSize/NR] panels of D k-values
  AlignedBuffer<std::byte> values_;  // [ceil(D/NR)] panels of kSegmentSize k-values
};

// Cache lines of a segment that are fetched while the tile kernels work on the one before it.
class SegmentFetch {
 public:
  // Nothing is left to fetch.
  void Clear() { num_ranges_ = 0; }
  // The positions from `begin` on, before `end`, while `num_tiles` tiles pass over a segment.
  void Start(const KvHead& kv, int64_t begin, int64_t end, int64_t num_tiles, int block_depth);
  bool is_empty() const { return num_ranges_ == 0; }
  // What a kernel that passes over num_blocks k-blocks fetches.
  Prefetch Take(int64_t num_blocks);

 private:
  struct Bytes {
    const std::byte* begin;
    int64_t size;
  };
  std::array<Bytes, 2 * kSegmentSize / kKvBlockSize> ranges_;
  int num_ranges_ = 0;
  int range_ = 0;       // the one in hand
  int64_t offset_ = 0;  // fetched of it
  int lines_per_block_ = 0;
};

}  // namespace expertile::cpu
