// How weights lie in device memory: in the order in which a matrix product reads them, so that a
// tile of any width is one contiguous copy. For host and device. Not the copying.
#pragma once

#include <cstdint>

namespace expertile::cuda {

inline constexpr int kTileDepth = 64;      // elements of a row of a tile: 128 bytes
inline constexpr int kColumnsPerAtom = 8;  // rows of weights that share a swizzle
inline constexpr int kMxfp4Columns = 16;   // that are packed together

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

  // MXFP4: 16 columns after 16, each with 64 of the depth. A word holds 8 codes that one thread of
  // a warp multiplies with: a pair of the depth each of columns g and g + 8, and the same 8 further
  // on, as wgmma and mma.sync take a first operand of 16 by 16. Thread 4 g + q of 32 has four such
  // words, 16 bytes, of depths 16 apart, the pairs from 2 q on. Then a column's scales of both
  // blocks lie beside those of the column 8 further on.
  constexpr int64_t code_columns() const { return RoundUp(columns, kMxfp4Columns); }
  constexpr int64_t code_bytes() const { return depth_tiles() * code_columns() * kTileDepth / 2; }
  constexpr int64_t scale_bytes() const { return depth_tiles() * code_columns() * 2; }
  // Of the word with a column's element k, whose place in it is Mxfp4Pair's.
  constexpr int64_t WordOffset(int64_t column, int64_t k) const {
    const int64_t thread = column % 8 * 4 + k % 8 / 2;
    return First16(column, k) * kMxfp4Columns * (kTileDepth / 2) + thread * 16 +
           k % kTileDepth / 16 * 4;
  }
  constexpr int64_t ScaleOffset(int64_t column, int64_t k) const {
    return First16(column, k) * kMxfp4Columns * 2 + column % 8 * 4 + column % 16 / 8 * 2 +
           k % kTileDepth / 32;
  }

 private:
  constexpr int64_t First16(int64_t column, int64_t k) const {
    return (k / kTileDepth * code_columns() + column) / kMxfp4Columns;
  }
};

// Which of a word's four pairs of codes has a column's element k.
constexpr int Mxfp4Pair(int64_t column, int64_t k) {
  return static_cast<int>(column % 16 / 8 + k % 16 / 8 * 2);
}

// The format of the block of scales, and so of this layout of both: programs of another have
// "e8m0".
inline constexpr const char* kMxfp4ScaleFormat = "e8m0x4";

// Two codes, the first in the lower bits, as the pair `pair` of a word: spread so that the device
// has few instructions left (mxfp4.cuh). Each is in a half of its own, with its sign, and its
// exponent and mantissa bits, at:
//   pair 0: 15, 8 7 6;  pair 1: 12, 5 4 3;  pair 2: 9, 2 1 0;  pair 3: 14, 13 11 10.
constexpr uint32_t SpreadMxfp4Codes(uint32_t codes, int pair) {
  uint32_t bits = 0;
  for (int half = 0; half < 2; ++half) {
    const uint32_t sign = codes >> (4 * half + 3) & 1u;
    const uint32_t rest = codes >> (4 * half) & 7u;
    const uint32_t spread = pair < 3 ? (sign << 15 | rest << 6) >> (3 * pair)
                                     : sign << 14 | (rest & 4u) << 11 | (rest & 3u) << 10;
    bits |= spread << (16 * half);
  }
  return bits;
}

// Gate and up rows of a MLP in one matrix: blocks of 8 gates, each followed by its 8 ups; I is
// padded to a multiple of kTileDepth, so that the rows after it are zeros.
constexpr int64_t GateUpColumns(int64_t intermediate_size) {
  return 2 * RoundUp(intermediate_size, kTileDepth);
}
constexpr int64_t GateColumn(int64_t i) { return i / 8 * 16 + i % 8; }
constexpr int64_t UpColumn(int64_t i) { return GateColumn(i) + 8; }

}  // namespace expertile::cuda
