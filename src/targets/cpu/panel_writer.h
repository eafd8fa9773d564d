// Laying weight rows out as panels, k by k: one writer per family of formats. Internal to
// packed_weights.cc. Not the layouts' readers: those are the tile kernels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/dtype.h"
#include "formats/mxfp6.h"
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

// Floats rounded to MXFP6 and written as kMxfp6 panels.
class Mxfp6PanelWriter {
 public:
  explicit Mxfp6PanelWriter(const PanelMatrix& matrix)
      : columns_(matrix.panel_columns),
        padded_in_(RoundUp(matrix.in, kMxBlockSize)),
        rows_(static_cast<size_t>(columns_ * padded_in_), 0.0f) {}

  float* Row(int column) { return rows_.data() + column * padded_in_; }
  void Clear() { std::fill(rows_.begin(), rows_.end(), 0.0f); }

  void Write(std::byte* panel) const {
    for (int64_t k = 0; k < padded_in_; k += kMxBlockSize) {
      std::fill_n(panel, kMxfp6BlockBytes * columns_, std::byte{0});
      for (int column = 0; column < columns_; ++column) {
        const float* values = rows_.data() + column * padded_in_ + k;
        WriteBlock(EncodeMxfp6({values, kMxBlockSize}), panel + column);
      }
      panel += kMxfp6BlockBytes * columns_;
    }
  }

 private:
  // `target` is the column's scale; every further byte of the column is columns_ bytes on.
  void WriteBlock(const Mxfp6Block& block, std::byte* target) const {
    target[0] = static_cast<std::byte>(block.scale);
    std::byte* low = target + columns_;
    std::byte* high = low + kMxfp6LowBytes * columns_;
    for (int i = 0; i < kMxBlockSize; ++i) {
      const uint8_t code = block.codes[static_cast<size_t>(i)];
      low[i / 2 * columns_] |= static_cast<std::byte>((code & 15) << 4 * (i % 2));
      high[i / 4 * columns_] |= static_cast<std::byte>((code >> 4) << 2 * (i % 4));
    }
  }

  int columns_;
  int64_t padded_in_;
  std::vector<float> rows_;  // [panel_columns, padded_in]
};

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
