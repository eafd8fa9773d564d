// MXFP6 panels: every code at every scale against formats/mxfp6.h, and products against float32
// panels of the same values, bit by bit, on every instruction set.
#include "formats/mxfp6.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/dtype.h"
#include "targets/cpu/isa.h"
#include "targets/cpu/linear.h"
#include "targets/cpu/panel_writer.h"
#include "targets/cpu/tables_here.h"

namespace expertile::cpu {
namespace {

class Mxfp6PanelTest : public testing::TestWithParam<TableHere> {
 protected:
  // As an expanded panel holds it: bfloat16 pairs, or floats.
  float Expanded(const std::vector<std::byte>& panel, bool pairs, int column, int k) const {
    if (!pairs) {
      float value;
      std::memcpy(&value, panel.data() + (k * table_.panel_columns + column) * 4, 4);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, panel.data() + (k / 2 * table_.panel_columns + column) * 4 + k % 2 * 2, 2);
    return BFloat16ToFloat(bits);
  }

  const KernelTable& table_ = *GetParam().table;
};

// Column c holds the 32 codes of one sign from the c-th on: a block that has all of them keeps
// them.
TEST_P(Mxfp6PanelTest, EveryCodeAtEveryScale) {
  const PanelMatrix matrix{nullptr,
                           nullptr,
                           WeightFormat::kMxfp6,
                           kMxBlockSize,
                           table_.panel_columns,
                           table_.panel_columns};
  std::vector<std::byte> panel(matrix.panel_bytes());
  std::vector<std::byte> expanded(kMxBlockSize * table_.panel_columns * 4);
  for (int scale = 0; scale < 252; ++scale) {  // 7.5 * 2^125 is the last below 2^128
    Mxfp6PanelWriter writer(matrix);
    for (int column = 0; column < table_.panel_columns; ++column) {
      for (int k = 0; k < kMxBlockSize; ++k) {
        const auto code = static_cast<uint8_t>((k + column) % 32 + 32 * (column % 2));
        writer.Row(column)[k] = std::ldexp(Mxfp6Value(code), scale - 127);
      }
    }
    writer.Write(panel.data());
    for (const GemmKernels* kernels : {&table_.float32, &table_.bfloat16}) {
      const bool pairs = kernels->float32[1] == nullptr;
      kernels->expand_mxfp6(panel.data(), kMxBlockSize, expanded.data(), {});
      for (int column = 0; column < table_.panel_columns; ++column) {
        for (int k = 0; k < kMxBlockSize; ++k) {
          const float value = Expanded(expanded, pairs, column, k);
          ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(writer.Row(column)[k]))
              << "scale " << scale << " column " << column << " k " << k;
        }
      }
    }
  }
}

TEST_P(Mxfp6PanelTest, ProductsAreThoseOfTheRoundedWeights) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  WorkerPool pool(2);
  for (const int64_t in : {1, 2, 31, 32, 33, 40, 64, 200, 418}) {
    const int64_t out = 70;
    const int64_t num_tokens = 17;
    std::vector<float> weights(in * out);
    std::vector<float> x(in * num_tokens);
    for (float& value : weights) value = normal(random);
    for (float& value : x) value = normal(random);
    const auto row_of = [&](int64_t row, float* values) {
      std::copy_n(weights.begin() + row * in, in, values);
    };
    const auto rounded_row_of = [&](int64_t row, float* values) {
      row_of(row, values);
      RoundToMxfp6({values, static_cast<size_t>(in)});
    };
    const auto mxfp6 = *PackedMatrix::Create(table_, WeightFormat::kMxfp6, out, in, row_of, {});
    const auto plain =
        *PackedMatrix::Create(table_, WeightFormat::kFloat32, out, in, rounded_row_of, {});
    auto linear = *Linear::Create(table_, ComputeType::kFloat32, num_tokens, in, 2);
    std::vector<float> y(out * num_tokens);
    std::vector<float> expected(out * num_tokens);
    const LinearProduct products[] = {{&mxfp6, y.data()}, {&plain, expected.data()}};
    ASSERT_TRUE(linear.Run(x.data(), num_tokens, products, pool));
    EXPECT_EQ(y, expected) << "in " << in;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, Mxfp6PanelTest, testing::ValuesIn(TablesHere()), NameOfTable);

}  // namespace
}  // namespace expertile::cpu
