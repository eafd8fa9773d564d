#include "targets/cpu/attention_segment.h"

#include <algorithm>

#include "targets/cpu/gemm.h"

namespace expertile::cpu {

bool SegmentReader::Reserve(const KvCache& cache) {
  if (cache.shape().format == KvFormat::kFloat32) return true;
  constexpr auto kBytes = kSegmentSize * static_cast<int64_t>(sizeof(float));
  return keys_.Reserve(kBytes * cache.shape().head_dim) &&
         values_.Reserve(kBytes * cache.num_value_panels() * table_->panel_columns);
}

KeySegment SegmentReader::Read(const KvHead& kv, int64_t begin, KeySpan seen, bool is_shared) {
  const KvFormat format = kv.cache->shape().format;
  const bool expand_pays = kernels_->expand_pays && is_shared;
  KeySegment segment;
  segment.begin = begin;
  segment.is_expanded =
      format == KvFormat::kMxInt8 || (format == KvFormat::kBFloat16 && expand_pays);
  segment.is_float32 =
      segment.is_expanded ? kernels_->float32[1] != nullptr : format == KvFormat::kFloat32;
  segment.depth_bytes = table_->panel_columns * (segment.is_float32 ? 4 : 2);
  ReadKeys(kv, seen, segment);
  ReadValues(kv, seen, segment);
  return segment;
}

void SegmentReader::ReadKeys(const KvHead& kv, KeySpan seen, KeySegment& segment) {
  const int64_t head_dim = kv.cache->shape().head_dim;
  const int64_t columns = table_->panel_columns;
  for (int64_t i = seen.begin / columns; i * columns < seen.end; ++i) {
    const int64_t strip = segment.begin / columns + i;
    const std::byte* panel = kv.cache->KeyPanel(kv.blocks, kv.head, strip);
    segment.keys[i] = panel;
    if (!segment.is_expanded) continue;
    std::byte* expanded = keys_.data() + i * head_dim * segment.depth_bytes;
    segment.keys[i] = expanded;
    if (kv.cache->shape().format == KvFormat::kMxInt8) {
      kernels_->expand_mxint8_keys(panel, kv.cache->KeyScales(kv.blocks, kv.head, strip), head_dim,
                                   expanded);
    } else {
      table_->expand_panel(panel, head_dim, expanded, {});
    }
  }
}

void SegmentReader::ReadValues(const KvHead& kv, KeySpan seen, KeySegment& segment) {
  const KvCache& cache = *kv.cache;
  segment.has_non_finite = false;
  segment.run_size = segment.is_expanded ? kSegmentSize : kKvBlockSize;
  segment.value_stride = segment.run_size * segment.depth_bytes;
  segment.values[0] = values_.data();
  for (int64_t i = seen.begin / kKvBlockSize; i * kKvBlockSize < seen.end; ++i) {
    const int64_t block = segment.begin / kKvBlockSize + i;
    segment.has_non_finite |= cache.HasNonFiniteValues(kv.blocks, kv.head, block);
    if (!segment.is_expanded) {
      segment.values[i] = cache.ValuePanel(kv.blocks, kv.head, block, 0);
      continue;
    }
    const int64_t depth = std::min(kKvBlockSize, RoundUp(seen.end - i * kKvBlockSize, 2));
    for (int64_t n = 0; n < cache.num_value_panels(); ++n) {
      const std::byte* panel = cache.ValuePanel(kv.blocks, kv.head, block, n);
      std::byte* expanded =
          values_.data() + n * segment.value_stride + i * kKvBlockSize * segment.depth_bytes;
      if (cache.shape().format == KvFormat::kMxInt8) {
        kernels_->expand_mxint8_values(panel, cache.ValueScales(kv.blocks, kv.head, block, n),
                                       depth, expanded);
      } else {
        table_->expand_panel(panel, depth, expanded, {});
      }
    }
  }
}

void SegmentFetch::Start(const KvHead& kv, int64_t begin, int64_t end, int64_t num_tiles,
                         int block_depth) {
  const KvShape& shape = kv.cache->shape();
  const int64_t strips_per_block = kKvBlockSize / shape.panel_columns;
  const int64_t last = std::min(begin + kSegmentSize, end);
  const std::array<int64_t, 2> sizes = {strips_per_block * shape.head_dim,
                                        kv.cache->num_value_panels() * kKvBlockSize};
  num_ranges_ = range_ = 0;
  offset_ = 0;
  int64_t num_bytes = 0;
  for (int kind = 0; kind < 2; ++kind) {  // the order in which they are read
    for (int64_t block = begin / kKvBlockSize; block * kKvBlockSize < last; ++block) {
      const std::byte* data = kind == 0
                                  ? kv.cache->KeyPanel(kv.blocks, kv.head, block * strips_per_block)
                                  : kv.cache->ValuePanel(kv.blocks, kv.head, block, 0);
      ranges_[num_ranges_++] = {data, sizes[kind] * kv.cache->depth_bytes()};
      num_bytes += ranges_[num_ranges_ - 1].size;
    }
  }
  // Over a whole segment; a tile that sees less of it fetches less.
  const int64_t num_k_values = (sizes[0] + sizes[1]) * (kSegmentSize / kKvBlockSize);
  lines_per_block_ =
      static_cast<int>(CeilDiv(num_bytes / 64 * block_depth, num_tiles * num_k_values));
}

Prefetch SegmentFetch::Take(int64_t num_blocks) {
  if (range_ >= num_ranges_) return {};
  const Bytes& bytes = ranges_[range_];
  const Prefetch fetch = {bytes.begin + offset_, lines_per_block_};
  offset_ += num_blocks * lines_per_block_ * 64;
  if (offset_ >= bytes.size) {
    ++range_;
    offset_ = 0;
  }
  return fetch;
}

}  // namespace expertile::cpu
