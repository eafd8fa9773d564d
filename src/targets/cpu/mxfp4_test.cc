// Expanding MXFP4 panels: every code at every scale, on every instruction set, against
// formats/mxfp4.h.
#include "formats/mxfp4.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "targets/cpu/isa.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/panel_writer.h"
#include "targets/cpu/tables_here.h"

namespace expertile::cpu {
namespace {

class Mxfp4PanelTest : public testing::TestWithParam<TableHere> {
 protected:
  // Columns of two blocks: codes count up, so that every code meets every scale over the 256 calls.
  void Fill(int scale) {
    for (int column = 0; column < table_.panel_columns; ++column) {
      const Mxfp4Row row = writer_.Row(column);
      for (int i = 0; i < 2 * kMxfp4BlockBytes; ++i) {
        row.codes[i] = static_cast<std::byte>((i + column) % 16 | ((15 - i) & 15) << 4);
      }
      row.scales[0] = static_cast<std::byte>(scale);
      row.scales[1] = static_cast<std::byte>((scale + column) % 256);
    }
    writer_.Write(panel_.data());
  }
  float Expected(int column, int k) {
    const Mxfp4Row row = writer_.Row(column);
    const int block = k / kMxBlockSize;
    std::array<float, kMxBlockSize> values;
    DecodeMxfp4Block(std::span<const std::byte, kMxfp4BlockBytes>(
                         row.codes + block * kMxfp4BlockBytes, kMxfp4BlockBytes),
                     static_cast<uint8_t>(row.scales[block]), values);
    return values[k % kMxBlockSize];
  }
  // As a panel holds it: bfloat16 pairs, or floats.
  float Expanded(bool pairs, int column, int k) const {
    if (!pairs) {
      float value;
      std::memcpy(&value, expanded_.data() + (k * table_.panel_columns + column) * 4, 4);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, expanded_.data() + (k / 2 * table_.panel_columns + column) * 4 + k % 2 * 2,
                2);
    return BFloat16ToFloat(bits);
  }

  static constexpr int kDepth = 2 * kMxBlockSize;
  const KernelTable& table_ = *GetParam().table;
  Mxfp4PanelWriter writer_{
      {nullptr, nullptr, WeightFormat::kMxfp4, kDepth, table_.panel_columns, table_.panel_columns}};
  std::vector<std::byte> panel_ = std::vector<std::byte>(kDepth * kMaxPanelColumns);
  std::vector<std::byte> expanded_ = std::vector<std::byte>(kDepth * kMaxPanelColumns * 4);
};

TEST_P(Mxfp4PanelTest, EveryCodeAtEveryScale) {
  for (const GemmKernels* kernels : {&table_.float32, &table_.bfloat16}) {
    const bool pairs = kernels->float32[1] == nullptr;
    for (int scale = 0; scale < 256; ++scale) {
      Fill(scale);
      kernels->expand_mxfp4(panel_.data(), kDepth, expanded_.data(), {});
      for (int column = 0; column < table_.panel_columns; ++column) {
        for (int k = 0; k < kDepth; ++k) {
          const float expected = Expected(column, k);
          const float actual = Expanded(pairs, column, k);
          if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(actual)) << scale;
          } else {
            ASSERT_EQ(std::bit_cast<uint32_t>(actual), std::bit_cast<uint32_t>(expected))
                << "scale " << scale << " column " << column << " k " << k;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, Mxfp4PanelTest, testing::ValuesIn(TablesHere()), NameOfTable);

}  // namespace
}  // namespace expertile::cpu
