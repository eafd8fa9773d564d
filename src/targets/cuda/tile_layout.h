// How weights lie in device memory: in the order in which a matrix product reads them, so that a
// tile of any width is one contiguous copy. For host and device. Not the copying.
#pragma once

#include <cstdint>

namespace expertile::cuda {

inline constexpr int kTileDepth = 64;      // elements of a row of a tile: 128 bytes
inline constexpr int kColumnsPerAtom = 8;  // rows of weights that share a swizzle

constexpr int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// A matrix [columns, depth]: for each 64 of the depth all columns (weights' rows), each 64
// elements.
struct TileLayout {
  int64_t columns;  // of the product, a multiple of kColumnsPerAtom
  int64_t depth;

  constexpr int64_t depth_tiles() const { return RoundUp(depth, kTileDepth) / kTileDepth; }

  // bfloat16: 16-byte chunk c (8 elements) of column n lies at chunk c ^ (n % 8) of its row.
  constexpr int64_t bytes() const { return depth_tiles() * columns * kTileDepth * 2; }
  constexpr int64_t ChunkOffset(int64_t column, int64_t depth_tile, int64_t chunk) const {
    return ((depth_tile * columns + column) * 8 + (chunk ^ (column % 8))) * 16;
  }

  // MXFP4: two blocks of 32 codes (16 bytes) for each column, and their scales.
  constexpr int64_t code_bytes() const { return depth_tiles() * columns * (kTileDepth / 2); }
  constexpr int64_t scale_bytes() const { return depth_tiles() * columns * 2; }
  constexpr int64_t BlockIndex(int64_t column, int64_t block) const {
    return (block / 2 * columns + column) * 2 + block % 2;
  }
};

// The 8 codes of 4 bytes of a checkpoint's row in the order in which the device spreads them
// (mxfp4.cuh): element 2 p + h is in half h, with its sign, and its exponent and mantissa bits, at:
//   p = 0: 15, 8 7 6;  p = 1: 12, 5 4 3;  p = 2: 9, 2 1 0;  p = 3: 14, 13 11 10.
constexpr uint32_t PackMxfp4Word(uint32_t codes) {
  uint32_t word = 0;
  for (int e = 0; e < 8; ++e) {
    const uint32_t code = codes >> (4 * e) & 15u;
    const uint32_t sign = code >> 3;
    const uint32_t rest = code & 7u;
    const uint32_t spread[] = {sign << 15 | rest << 6, sign << 12 | rest << 3, sign << 9 | rest,
                               sign << 14 | (rest & 4u) << 11 | (rest & 3u) << 10};
    word |= spread[e / 2] << (16 * (e % 2));
  }
  return word;
}

// Gate and up rows of a MLP in one matrix: blocks of 8 gates, each followed by its 8 ups; I is
// padded to a multiple of kTileDepth, so that the rows after it are zeros.
constexpr int64_t GateUpColumns(int64_t intermediate_size) {
  return 2 * RoundUp(intermediate_size, kTileDepth);
}
constexpr int64_t GateColumn(int64_t i) { return i / 8 * 16 + i % 8; }
constexpr int64_t UpColumn(int64_t i) { return GateColumn(i) + 8; }

}  // namespace expertile::cuda
