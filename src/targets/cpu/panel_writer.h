// Laying weight rows out as panels, k by k: one writer per family of formats. Internal to
// packed_weights.cc. Not the layouts' readers: those are the tile kernels.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "formats/mxfp6.h"
#include "formats/mxint8.h"
#include "targets/cpu/gemm.h"

namespace expertile::cpu {

// Floats as float32 or bfloat16 panels.
class FloatPanelWriter {
 public:
  explicit FloatPanelWriter(const PanelMatrix& matrix)
      : columns_(matrix.panel_columns),
        padded_in_(matrix.padded_in()),
        format_(matrix.format),
        rows_(static_cast<size_t>(columns_ * padded_in_), 0.0f) {}

  // The row that becomes column `column` of the panel; Clear() leaves zeros.
  float* Row(int column) { return rows_.data() + column * padded_in_; }
  void Clear() { std::fill(rows_.begin(), rows_.end(), 0.0f); }

  void Write(std::byte* panel) const {
    constexpr int64_t kBlock = 16;  // one cache line of every row at a time
    for (int64_t k = 0; k < padded_in_; k += kBlock) {
      const int64_t end = std::min(k + kBlock, padded_in_);
      for (int column = 0; column < columns_; ++column) WriteBlock(panel, column, k, end);
    }
  }

 private:
  void WriteBlock(std::byte* panel, int column, int64_t begin, int64_t end) const {
    const float* row = rows_.data() + column * padded_in_;
    if (format_ == WeightFormat::kFloat32) {
      float* target = reinterpret_cast<float*>(panel) + column;
      for (int64_t k = begin; k < end; ++k) target[k * columns_] = row[k];
    } else {
      uint16_t* target = reinterpret_cast<uint16_t*>(panel) + 2 * column;
      for (int64_t k = begin; k < end; ++k) {
        target[k / 2 * 2 * columns_ + k % 2] = FloatToBFloat16(row[k]);
      }
    }
  }

  int columns_;
  int64_t padded_in_;
  WeightFormat format_;
  std::vector<float> rows_;  // [panel_columns, padded_in]
};

// Floats rounded to an MX format and written as its panels, block by block. `Block` encodes 32
// values of column `column` of `columns` into a panel's block of kBytes a column, which begins as
// zeros.
template <typename Block>
class MxPanelWriter {
 public:
  explicit MxPanelWriter(const PanelMatrix& matrix)
      : columns_(matrix.panel_columns),
        padded_in_(RoundUp(matrix.in, kMxBlockSize)),
        rows_(static_cast<size_t>(columns_ * padded_in_), 0.0f) {}

  float* Row(int column) { return rows_.data() + column * padded_in_; }
  void Clear() { std::fill(rows_.begin(), rows_.end(), 0.0f); }

  void Write(std::byte* panel) const {
    for (int64_t k = 0; k < padded_in_; k += kMxBlockSize) {
      std::fill_n(panel, Block::kBytes * columns_, std::byte{0});
      for (int column = 0; column < columns_; ++column) {
        const float* values = rows_.data() + column * padded_in_ + k;
        Block::Write({values, kMxBlockSize}, column, columns_, panel);
      }
      panel += Block::kBytes * columns_;
    }
  }

 private:
  int columns_;
  int64_t padded_in_;
  std::vector<float> rows_;  // [panel_columns, padded_in]
};

struct Mxfp6PanelBlock {
  static constexpr int kBytes = kMxfp6BlockBytes;

  static void Write(std::span<const float> values, int column, int columns, std::byte* block) {
    const Mxfp6Block encoded = EncodeMxfp6(values);
    block[column] = static_cast<std::byte>(encoded.scale);
    std::byte* low = block + columns + column;
    std::byte* high = low + kMxfp6LowBytes * columns;
    for (int i = 0; i < kMxBlockSize; ++i) {
      const uint8_t code = encoded.codes[static_cast<size_t>(i)];
      low[i / 2 * columns] |= static_cast<std::byte>((code & 15) << 4 * (i % 2));
      high[i / 4 * columns] |= static_cast<std::byte>((code >> 4) << 2 * (i % 4));
    }
  }
};
using Mxfp6PanelWriter = MxPanelWriter<Mxfp6PanelBlock>;

struct Mxint8PanelBlock {
  static constexpr int kBytes = kMxint8BlockBytes;

  static void Write(std::span<const float> values, int column, int columns, std::byte* block) {
    constexpr uint8_t kOne =
        127;  // zeros at any scale are the same, and 2^-127 is slow to multiply
    std::array<int8_t, kMxBlockSize> codes;
    const uint8_t scale = EncodeMxint8(values, codes);
    block[column] = static_cast<std::byte>(scale == 0 && codes == decltype(codes){} ? kOne : scale);
    std::byte* groups = block + columns + 4 * column;
    for (int i = 0; i < kMxBlockSize; ++i) {
      groups[i / 4 * 4 * columns + i % 4] =
          static_cast<std::byte>(codes[static_cast<size_t>(i)] + 128);
    }
  }
};
using Mxint8PanelWriter = MxPanelWriter<Mxint8PanelBlock>;

// Where a reader puts one MXFP4 row.
struct Mxfp4Row {
  std::byte* codes;   // [in/2], two elements a byte, the even one in the low nibble
  std::byte* scales;  // [in/32]
};

// MXFP4 rows as kMxfp4 panels: per 32 k-values the columns' scales, then for each pair of k-values
// a byte per column.
class Mxfp4PanelWriter {
 public:
  explicit Mxfp4PanelWriter(const PanelMatrix& matrix)
      : columns_(matrix.panel_columns),
        num_blocks_(matrix.in / kMxBlockSize),
        codes_(static_cast<size_t>(columns_ * num_blocks_ * kMxfp4BlockBytes)),
        scales_(static_cast<size_t>(columns_ * num_blocks_)) {}

  Mxfp4Row Row(int column) {
    return {codes_.data() + column * num_blocks_ * kMxfp4BlockBytes,
            scales_.data() + column * num_blocks_};
  }
  void Clear() {
    std::ranges::fill(codes_, std::byte{0});
    std::ranges::fill(scales_, std::byte{0});
  }

  void Write(std::byte* panel) const {
    for (int64_t block = 0; block < num_blocks_; ++block) {
      for (int column = 0; column < columns_; ++column) {
        panel[column] = scales_[static_cast<size_t>(column * num_blocks_ + block)];
      }
      panel += columns_;
      for (int pair = 0; pair < kMxfp4BlockBytes; ++pair, panel += columns_) {
        for (int column = 0; column < columns_; ++column) {
          panel[column] =
              codes_[static_cast<size_t>((column * num_blocks_ + block) * kMxfp4BlockBytes + pair)];
        }
      }
    }
  }

 private:
  int columns_;
  int64_t num_blocks_;
  std::vector<std::byte> codes_;   // [panel_columns, in/2]
  std::vector<std::byte> scales_;  // [panel_columns, in/32]
};

}  // namespace expertile::cpu
