// AMX's tile instructions in plain C++, by their definition, to run the kernels of the set `amx`
// where there is no AMX. For tests: after immintrin.h, whose names it takes, and before
// amx_table-inl.h.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/dtype.h"

namespace expertile::cpu::emulated {

// A tile register: rows of up to 64 bytes. Reading or writing what its shape does not have aborts,
// where the processor raises an exception.
struct TileRegister {
  int rows = 0;
  int row_bytes = 0;
  alignas(64) std::byte bytes[16][64] = {};
};

inline thread_local TileRegister registers[8];

inline void Demand(bool holds) {
  if (!holds) std::abort();
}

// The shapes of LDTILECFG's 64 bytes; all registers become zero.
inline void LoadConfiguration(const void* configuration) {
  uint8_t bytes[64];
  std::memcpy(bytes, configuration, sizeof(bytes));
  Demand(bytes[0] == 1);
  for (int tile = 0; tile < 8; ++tile) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, bytes + 16 + 2 * tile, sizeof(row_bytes));
    registers[tile] = {.rows = bytes[48 + tile], .row_bytes = row_bytes};
    Demand(registers[tile].rows <= 16 && row_bytes <= 64);
  }
}

inline void Release() {
  for (TileRegister& tile : registers) tile = {};
}

inline void Zero(int tile) {
  Demand(registers[tile].rows > 0);
  std::memset(registers[tile].bytes, 0, sizeof(registers[tile].bytes));
}

inline void LoadRows(int tile, const void* base, int64_t stride) {
  TileRegister& target = registers[tile];
  Demand(target.rows > 0);
  Zero(tile);
  for (int row = 0; row < target.rows; ++row) {
    std::memcpy(target.bytes[row], static_cast<const std::byte*>(base) + row * stride,
                static_cast<size_t>(target.row_bytes));
  }
}

inline void StoreRows(int tile, void* base, int64_t stride) {
  const TileRegister& source = registers[tile];
  Demand(source.rows > 0);
  for (int row = 0; row < source.rows; ++row) {
    std::memcpy(static_cast<std::byte*>(base) + row * stride, source.bytes[row],
                static_cast<size_t>(source.row_bytes));
  }
}

// Subnormals are taken for zeros, and made zeros.
inline float WithoutSubnormals(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return (bits & 0x7f800000u) == 0 ? std::bit_cast<float>(bits & 0x80000000u) : value;
}

inline void CheckShapes(const TileRegister& c, const TileRegister& a, const TileRegister& b) {
  Demand(c.rows > 0 && a.rows > 0 && b.rows > 0);
  Demand(a.rows == c.rows && b.row_bytes == c.row_bytes && a.row_bytes == 4 * b.rows);
}

inline float BFloat16At(const std::byte* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return WithoutSubnormals(BFloat16ToFloat(bits));
}

// c += a b of bfloat16 pairs. Even and odd products are summed apart, from zero, then together.
inline void DotBFloat16(int c_tile, int a_tile, int b_tile) {
  TileRegister& c = registers[c_tile];
  const TileRegister& a = registers[a_tile];
  const TileRegister& b = registers[b_tile];
  CheckShapes(c, a, b);
  float weights[32][16] = {};  // k by k
  for (int k = 0; k < 2 * b.rows; ++k) {
    for (int column = 0; column < 16; ++column) {
      weights[k][column] = BFloat16At(b.bytes[k / 2] + 4 * column + 2 * (k % 2));
    }
  }
  for (int row = 0; row < c.rows; ++row) {
    float sums[2][16] = {};
    for (int k = 0; k < 2 * b.rows; ++k) {
      const float x = BFloat16At(a.bytes[row] + 2 * k);
      float* sum = sums[k % 2];
      for (int column = 0; column < 16; ++column) {
        sum[column] = WithoutSubnormals(std::fma(x, weights[k][column], sum[column]));
      }
    }
    float total[16];
    std::memcpy(total, c.bytes[row], sizeof(total));
    for (int column = 0; column < 16; ++column) {
      const float dot = WithoutSubnormals(sums[0][column] + sums[1][column]);
      total[column] = WithoutSubnormals(WithoutSubnormals(total[column]) + dot);
    }
    std::memcpy(c.bytes[row], total, static_cast<size_t>(c.row_bytes));
  }
}

}  // namespace expertile::cpu::emulated

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbssd
#define _tile_loadconfig ::expertile::cpu::emulated::LoadConfiguration
#define _tile_release ::expertile::cpu::emulated::Release
#define _tile_zero ::expertile::cpu::emulated::Zero
#define _tile_loadd ::expertile::cpu::emulated::LoadRows
#define _tile_stored ::expertile::cpu::emulated::StoreRows
#define _tile_dpbf16ps ::expertile::cpu::emulated::DotBFloat16
#define _tile_dpbssd(c, a, b) static_cast<void>(0)  // only measured, not used
