#include "targets/cpu/kv_cache.h"

#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>

#include "base/error.h"
#include "base/tensor.h"
#include "formats/mxint8.h"

namespace expertile::cpu {
namespace {

// At most 32 values that share a scale, in each format what formats/kv_codec.h makes of them.
uint8_t Encode(std::span<const float> values, float* elements) {
  std::ranges::copy(values, elements);
  return 0;
}
uint8_t Encode(std::span<const float> values, uint16_t* elements) {
  std::ranges::transform(values, elements, FloatToBFloat16);
  return 0;
}
uint8_t Encode(std::span<const float> values, int8_t* elements) {
  return EncodeMxint8(values, {elements, values.size()});
}

void Decode(const float* elements, uint8_t, std::span<float> values) {
  std::copy_n(elements, values.size(), values.begin());
}
void Decode(const uint16_t* elements, uint8_t, std::span<float> values) {
  std::transform(elements, elements + values.size(), values.begin(), BFloat16ToFloat);
}
void Decode(const int8_t* elements, uint8_t scale, std::span<float> values) {
  DecodeMxint8({elements, values.size()}, scale, values);
}

// k-values of a column that lie side by side in a panel.
template <typename Element>
constexpr int64_t kPairedOf = std::is_same_v<Element, uint16_t> ? 2 : 1;

// Of a column's k-value in a panel.
template <typename Element>
int64_t IndexOf(int64_t k, int64_t column, int64_t panel_columns) {
  constexpr int64_t kPaired = kPairedOf<Element>;
  return (k / kPaired * panel_columns + column) * kPaired + k % kPaired;
}

// Calls visit(first, count) for the runs of a row that share a scale.
template <typename Visit>
void ForMxBlocks(int64_t head_dim, Visit visit) {
  for (int64_t first = 0; first < head_dim; first += kMxBlockSize) {
    visit(first, std::min<int64_t>(kMxBlockSize, head_dim - first));
  }
}

}  // namespace

KvCache::KvCache(const KvShape& shape)
    : shape_(shape), element_bytes_(SizeOf(KvCodec(shape.format, shape.head_dim).dtype())) {
  key_tile_bytes_ = strips_per_block() * key_panel_bytes();
  value_tile_bytes_ = num_value_panels() * value_panel_bytes();
  scale_tile_bytes_ = shape.format == KvFormat::kMxInt8 ? num_scales() * kKvBlockSize : 0;
}

Result<KvCache> KvCache::Create(const KvShape& shape) {
  KvCache cache(shape);
  const int64_t tile_bytes = std::max(cache.key_tile_bytes_, cache.value_tile_bytes_);
  if (!CheckedByteSize(DType::kU8,
                       std::array{shape.num_blocks, int64_t{shape.num_kv_heads}, tile_bytes})) {
    return InvalidArgument("KV cache: {} blocks of {} positions are too many", shape.num_blocks,
                           kKvBlockSize);
  }
  if (cache.Allocate()) return cache;
  return Fail(ErrorCode::kOutOfMemory, "KV cache: no memory for {} blocks of {} positions",
              shape.num_blocks, kKvBlockSize);
}

bool KvCache::Allocate() {
  const int64_t num_tiles = shape_.num_blocks * shape_.num_kv_heads;
  non_finite_values_.assign(num_tiles, 0);
  return keys_.Reserve(num_tiles * key_tile_bytes_) &&
         values_.Reserve(num_tiles * value_tile_bytes_) &&
         key_scales_.Reserve(num_tiles * scale_tile_bytes_) &&
         value_scales_.Reserve(num_tiles * scale_tile_bytes_);
}

const std::byte* KvCache::KeyPanel(BlockTable blocks, int head, int64_t strip) const {
  const int64_t tile = TileOf(blocks[strip / strips_per_block()], head);
  return keys_.data() + tile * key_tile_bytes_ + strip % strips_per_block() * key_panel_bytes();
}

const std::byte* KvCache::KeyScales(BlockTable blocks, int head, int64_t strip) const {
  const int64_t tile = TileOf(blocks[strip / strips_per_block()], head);
  return key_scales_.data() + tile * scale_tile_bytes_ +
         strip % strips_per_block() * num_scales() * shape_.panel_columns;
}

const std::byte* KvCache::ValuePanel(BlockTable blocks, int head, int64_t block,
                                     int64_t panel) const {
  return values_.data() + TileOf(blocks[block], head) * value_tile_bytes_ +
         panel * value_panel_bytes();
}

const std::byte* KvCache::ValueScales(BlockTable blocks, int head, int64_t block,
                                      int64_t panel) const {
  return value_scales_.data() + TileOf(blocks[block], head) * scale_tile_bytes_ +
         panel * shape_.panel_columns / kMxBlockSize * kKvBlockSize;
}

void KvCache::ClearValues(int64_t tile) {
  std::fill_n(values_.data() + tile * value_tile_bytes_, value_tile_bytes_, std::byte{0});
  std::fill_n(value_scales_.data() + tile * scale_tile_bytes_, scale_tile_bytes_, std::byte{0});
  non_finite_values_[tile] = 0;
}

void KvCache::Write(BlockTable blocks, int head, int64_t position, std::span<const float> key,
                    std::span<const float> value) {
  const int64_t tile = TileOf(blocks[position / kKvBlockSize], head);
  if (position % kKvBlockSize == 0) ClearValues(tile);
  if (!IsFiniteAsHeld(value)) non_finite_values_[tile] = 1;
  switch (shape_.format) {
    case KvFormat::kFloat32:
      return WriteElements<float>(blocks, head, position, key, value);
    case KvFormat::kBFloat16:
      return WriteElements<uint16_t>(blocks, head, position, key, value);
    case KvFormat::kMxInt8:
      return WriteElements<int8_t>(blocks, head, position, key, value);
  }
}

template <typename Element>
void KvCache::WriteElements(BlockTable blocks, int head, int64_t position,
                            std::span<const float> key, std::span<const float> value) {
  constexpr int64_t kPaired = kPairedOf<Element>;
  const int64_t columns = shape_.panel_columns;
  const int64_t strip = position / columns;
  const int64_t block = position / kKvBlockSize;
  const int64_t k = position % kKvBlockSize;
  const auto writable = [](const std::byte* bytes) { return const_cast<std::byte*>(bytes); };
  auto* key_panel = reinterpret_cast<Element*>(writable(KeyPanel(blocks, head, strip))) +
                    position % columns * kPaired;
  auto* value_panels = reinterpret_cast<Element*>(writable(ValuePanel(blocks, head, block, 0))) +
                       IndexOf<Element>(k, 0, columns);
  ForMxBlocks(shape_.head_dim, [&](int64_t first, int64_t count) {
    Element elements[kMxBlockSize];
    const auto key_scale = static_cast<std::byte>(Encode(key.subspan(first, count), elements));
    for (int64_t i = 0; i < count; i += kPaired) {
      std::copy_n(elements + i, kPaired, key_panel + (first + i) * columns);
    }
    const auto value_scale = static_cast<std::byte>(Encode(value.subspan(first, count), elements));
    for (int64_t i = 0; i < count;) {
      const int64_t column = (first + i) % columns;
      Element* target = value_panels + (first + i) / columns * kKvBlockSize * columns;
      const int64_t end = std::min(count, i + columns - column);
      for (int64_t c = column; i < end; ++i, ++c) target[c * kPaired] = elements[i];
    }
    if (scale_tile_bytes_ == 0) return;
    const int64_t group = first / kMxBlockSize;
    writable(KeyScales(blocks, head, strip))[group * columns + position % columns] = key_scale;
    writable(ValueScales(blocks, head, block, 0))[group * kKvBlockSize + k] = value_scale;
  });
}

// Rounding to bfloat16 overflows from halfway between its largest value and 2^128 on. MXINT8 gives
// every finite value a finite one.
bool KvCache::IsFiniteAsHeld(std::span<const float> value) const {
  const uint32_t least = shape_.format == KvFormat::kBFloat16 ? 0x7f7f8000u : 0x7f800000u;
  uint32_t largest = 0;
  for (const float x : value) {
    largest = std::max(largest, std::bit_cast<uint32_t>(x) & 0x7fffffffu);
  }
  return largest < least;
}

void KvCache::Read(BlockTable blocks, int head, int64_t position, std::span<float> key,
                   std::span<float> value) const {
  switch (shape_.format) {
    case KvFormat::kFloat32:
      return ReadElements<float>(blocks, head, position, key, value);
    case KvFormat::kBFloat16:
      return ReadElements<uint16_t>(blocks, head, position, key, value);
    case KvFormat::kMxInt8:
      return ReadElements<int8_t>(blocks, head, position, key, value);
  }
}

template <typename Element>
void KvCache::ReadElements(BlockTable blocks, int head, int64_t position, std::span<float> key,
                           std::span<float> value) const {
  const int64_t columns = shape_.panel_columns;
  const int64_t strip = position / columns;
  const int64_t block = position / kKvBlockSize;
  const int64_t k = position % kKvBlockSize;
  const auto* key_panel = reinterpret_cast<const Element*>(KeyPanel(blocks, head, strip));
  const auto* value_panels = reinterpret_cast<const Element*>(ValuePanel(blocks, head, block, 0));
  ForMxBlocks(shape_.head_dim, [&](int64_t first, int64_t count) {
    const int64_t group = first / kMxBlockSize;
    const auto scale_at = [&](const std::byte* scales, int64_t index) {
      return scale_tile_bytes_ == 0 ? uint8_t{0} : static_cast<uint8_t>(scales[index]);
    };
    Element elements[kMxBlockSize];
    for (int64_t i = 0; i < count; ++i) {
      elements[i] = key_panel[IndexOf<Element>(first + i, position % columns, columns)];
    }
    Decode(elements, scale_at(KeyScales(blocks, head, strip), group * columns + position % columns),
           key.subspan(first, count));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t panel = (first + i) / columns;
      elements[i] = value_panels[panel * kKvBlockSize * columns +
                                 IndexOf<Element>(k, (first + i) % columns, columns)];
    }
    Decode(elements, scale_at(ValueScales(blocks, head, block, 0), group * kKvBlockSize + k),
           value.subspan(first, count));
  });
}

void KvCache::CopyBlock(int32_t from, int32_t to) {
  const auto copy = [&](auto& buffer) {
    const auto size = static_cast<int64_t>(buffer.size()) / shape_.num_blocks;
    std::copy_n(buffer.data() + from * size, size, buffer.data() + to * size);
  };
  copy(keys_);
  copy(values_);
  copy(key_scales_);
  copy(value_scales_);
  copy(non_finite_values_);
}

}  // namespace expertile::cpu
