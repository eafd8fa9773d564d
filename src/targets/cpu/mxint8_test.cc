// MXINT8 products against a scalar oracle, bit by bit, on every instruction set: codes and scales
// of formats/mxint8.h, integer dots of blocks of 32, float32 sums of the blocks in order.
#include "formats/mxint8.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "targets/cpu/gated_mlp.h"
#include "targets/cpu/linear.h"
#include "targets/cpu/plain_product.h"
#include "targets/cpu/tables_here.h"

namespace expertile::cpu {
namespace {

struct Block {
  std::array<int8_t, kMxBlockSize> codes = {};
  float scale = 0.0f;
};

std::vector<Block> BlocksOf(const float* row, int64_t size) {
  std::vector<Block> blocks;
  for (int64_t k = 0; k < size; k += kMxBlockSize) {
    std::array<float, kMxBlockSize> values = {};
    std::copy_n(row + k, std::min<int64_t>(kMxBlockSize, size - k), values.begin());
    Block& block = blocks.emplace_back();
    block.scale = E8M0ToFloat(EncodeMxint8(values, block.codes));
  }
  return blocks;
}

// x [M, in] x weights [out, in].
PlainMatrix OracleProduct(const PlainMatrix& x, const PlainMatrix& weights) {
  std::vector<std::vector<Block>> columns;
  for (int64_t n = 0; n < weights.rows; ++n) {
    columns.push_back(BlocksOf(weights.Row(n), weights.columns));
  }
  PlainMatrix out = {x.rows, weights.rows, {}};
  for (int64_t r = 0; r < x.rows; ++r) {
    const std::vector<Block> row = BlocksOf(x.Row(r), x.columns);
    for (const std::vector<Block>& column : columns) {
      float sum = 0.0f;
      for (size_t b = 0; b < row.size(); ++b) {
        int32_t dot = 0;
        for (int k = 0; k < kMxBlockSize; ++k) dot += row[b].codes[k] * column[b].codes[k];
        sum = std::fma(static_cast<float>(dot) * column[b].scale, row[b].scale / 4096.0f, sum);
      }
      out.values.push_back(sum);
    }
  }
  return out;
}

void ExpectSameBits(const std::vector<float>& values, const std::vector<float>& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i]) && std::isnan(expected[i])) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected[i]))
        << "element " << i << ": " << values[i] << ", expected " << expected[i];
  }
}

class Mxint8Product : public testing::TestWithParam<TableHere> {
 protected:
  const KernelTable& table() const { return *GetParam().table; }

  std::vector<float> Product(const PlainMatrix& x, const PlainMatrix& weights, int num_workers) {
    const auto matrix = *PackedMatrix::Create(table(), WeightFormat::kMxint8, weights.rows,
                                              weights.columns, weights, {});
    auto linear = *Linear::Create(table(), ComputeType::kBFloat16, x.rows, x.columns, num_workers);
    WorkerPool pool(num_workers);
    std::vector<float> out(x.rows * weights.rows, std::numeric_limits<float>::quiet_NaN());
    const LinearProduct product{&matrix, out.data()};
    EXPECT_TRUE(linear.Run(x.values.data(), x.rows, {&product, 1}, pool));
    return out;
  }
};

TEST_P(Mxint8Product, IsTheOracleWhateverTheRowCount) {
  const PlainMatrix weights = RandomMatrix(37, 1500, 1);  // several slices, a ragged block
  for (int64_t rows = 1; rows <= 50; ++rows) {
    const PlainMatrix x = RandomMatrix(rows, 1500, 2);
    ExpectSameBits(Product(x, weights, 1 + static_cast<int>(rows % 2)),
                   OracleProduct(x, weights).values);
  }
}

TEST_P(Mxint8Product, IsTheOracleForSmallAndRaggedShapes) {
  for (const int64_t depth : {1, 2, 3, 31, 32, 33, 63, 64, 65, 193}) {
    for (const int64_t out : {1, 15, 16, 31, 32, 33, 65}) {
      const PlainMatrix weights = RandomMatrix(out, depth, 1);
      for (const int64_t rows : {17, 45}) {
        const PlainMatrix x = RandomMatrix(rows, depth, 2);
        ExpectSameBits(Product(x, weights, 1), OracleProduct(x, weights).values);
      }
    }
  }
}

// Codes of 127 of both signs, where sums of products are largest; the smallest and largest scales;
// zeros, values on the verge between codes, and what is not finite.
TEST_P(Mxint8Product, IsTheOracleForExtremeValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<std::array<float, 3>> patterns = {
      {127.0f, 127.0f, 127.0f},      {-127.0f, -127.0f, -127.0f},
      {127.9f, -127.9f, 127.9f},     {0.0f, -0.0f, 0.0f},
      {64.0f, 0.5f, 1.5f},           {-64.0f, -0.5f, -2.5f},
      {0x1p-149f, 0x1p-148f, 0.0f},  {0x1.fffffep-127f, -0x1p-130f, 0x1p-126f},
      {0x1p60f, -0x1p59f, 0x1p30f},  {0x1p-60f, 0x1.8p-65f, -0x1p-66f},
      {0x1.fffffep127f, 1.0f, 2.0f}, {infinity, 1.0f, 2.0f},
      {1.0f, -infinity, 2.0f},       {1.0f, std::nanf(""), 2.0f}};
  const int64_t depth = 3 * kMxBlockSize + 5;
  PlainMatrix weights = {0, depth, {}};
  for (const auto& pattern : patterns) {
    ++weights.rows;
    for (int64_t k = 0; k < depth; ++k) weights.values.push_back(pattern[k % 3]);
  }
  PlainMatrix x = weights;
  for (int64_t row = 0; row < 40; ++row) {  // few rows and many may have kernels of their own
    ExpectSameBits(Product(x, weights, 1), OracleProduct(x, weights).values);
    ++x.rows;
    x.values.insert(x.values.end(), weights.Row(row % weights.rows),
                    weights.Row(row % weights.rows) + depth);
  }
}

// Rows and columns whose scales lie far apart, from block to block, in several slices of any set.
TEST_P(Mxint8Product, IsTheOracleForScalesFarApart) {
  constexpr int64_t kDepth = 4096 + 3 * kMxBlockSize + 7;
  PlainMatrix weights = RandomMatrix(35, kDepth, 1);
  PlainMatrix x = RandomMatrix(50, kDepth, 2);
  const auto scale_blocks = [](PlainMatrix& matrix, int64_t row, int step) {
    for (int64_t k = 0; k < kDepth; ++k) {
      const int power = static_cast<int>(k / kMxBlockSize % 5 - 2) * step;
      matrix.values[row * kDepth + k] = std::ldexp(matrix.values[row * kDepth + k], power);
    }
  };
  for (int64_t row = 0; row < x.rows; row += 7) scale_blocks(x, row, 20 + static_cast<int>(row));
  ExpectSameBits(Product(x, weights, 1), OracleProduct(x, weights).values);
  for (int64_t column = 0; column < weights.rows; column += 5) scale_blocks(weights, column, 35);
  ExpectSameBits(Product(x, weights, 1), OracleProduct(x, weights).values);
}

// A NaN or an infinity stays in its row.
TEST_P(Mxint8Product, KeepsRowsApart) {
  PlainMatrix x = RandomMatrix(50, 100, 2);
  const PlainMatrix weights = RandomMatrix(40, 100, 1);
  const std::vector<float> finite = Product(x, weights, 1);
  x.values[7 * 100 + 33] = std::numeric_limits<float>::infinity();
  const std::vector<float> out = Product(x, weights, 1);
  for (size_t i = 0; i < out.size(); ++i) {
    if (i / 40 == 7) {
      EXPECT_TRUE(std::isnan(out[i]));
    } else {
      EXPECT_EQ(out[i], finite[i]);
    }
  }
}

// Within the formats' rounding of the exact product: half a unit of 2^-6 of each operand's block.
TEST_P(Mxint8Product, IsNearTheExactProduct) {
  const PlainMatrix weights = RandomMatrix(40, 512, 1);
  const PlainMatrix x = RandomMatrix(20, 512, 2);
  const std::vector<float> out = Product(x, weights, 1);
  const PlainMatrix exact = FusedProduct(x, weights);
  double difference = 0.0;
  double norm = 0.0;
  for (size_t i = 0; i < out.size(); ++i) {
    difference += std::pow(out[i] - exact.values[i], 2);
    norm += std::pow(exact.values[i], 2);
  }
  EXPECT_LT(std::sqrt(difference / norm), 0.02);
  EXPECT_GT(std::sqrt(difference / norm), 1e-4) << "nothing was rounded";
}

TEST_P(Mxint8Product, BesideOtherFormatsIsAnError) {
  const PlainMatrix weights = RandomMatrix(40, 64, 1);
  const auto codes = *PackedMatrix::Create(table(), WeightFormat::kMxint8, 40, 64, weights, {});
  const auto halves = *PackedMatrix::Create(table(), WeightFormat::kBFloat16, 40, 64, weights, {});
  auto linear = *Linear::Create(table(), ComputeType::kBFloat16, 1, 64, 1);
  WorkerPool pool(1);
  std::vector<float> out(2 * 40);
  const LinearProduct products[] = {{&codes, out.data()}, {&halves, out.data() + 40}};
  EXPECT_FALSE(linear.Run(weights.values.data(), 1, products, pool));
  EXPECT_TRUE(linear.Run(weights.values.data(), 1, {products, 1}, pool));
  EXPECT_TRUE(linear.Run(weights.values.data(), 1, {products + 1, 1}, pool));
}

// The activation that the kernels compute of one gate and one up.
float Activated(const KernelTable& table, float gate, float up) {
  alignas(64) float c[kMaxPanelColumns] = {gate};
  alignas(64) float tile[kDepthMultiple] = {};
  c[table.panel_columns / 2] = up;
  table.float32.gate(c, 1, nullptr, {}, 0, reinterpret_cast<std::byte*>(tile));
  return tile[0];
}

// Activations are rounded in blocks of 32, of which each comes from several panels.
TEST_P(Mxint8Product, AnMlpIsTheOraclesThreeProducts) {
  for (const int64_t intermediate : {1, 15, 31, 32, 33, 45, 64, 200}) {
    const int64_t hidden = 70;
    const PlainMatrix gate = RandomMatrix(intermediate, hidden, 1, 0.2f);
    const PlainMatrix up = RandomMatrix(intermediate, hidden, 2, 0.2f);
    const PlainMatrix down = RandomMatrix(hidden, intermediate, 3, 0.2f);
    auto expert =
        *PackedExperts::Create(table(), {1, hidden, intermediate, WeightFormat::kMxint8, false});
    expert.Pack(0, {gate, up, down});
    const PlainMatrix x = RandomMatrix(60, hidden, 4);
    const PlainMatrix gates = OracleProduct(x, gate);
    PlainMatrix activated = OracleProduct(x, up);
    for (size_t i = 0; i < activated.values.size(); ++i) {
      activated.values[i] = Activated(table(), gates.values[i], activated.values[i]);
    }
    const PlainMatrix expected = OracleProduct(activated, down);
    for (const int num_workers : {1, 3}) {
      WorkerPool pool(num_workers);
      auto run = *GatedMlp::Create(table(), ComputeType::kBFloat16, {60, hidden, intermediate},
                                   num_workers);
      std::vector<float> out(x.values.size());
      ASSERT_TRUE(
          run.Run(x.values.data(), 60, {expert.GateUp(0), expert.Down(0)}, {}, pool, out.data()));
      ExpectSameBits(out, expected.values);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryTable, Mxint8Product, testing::ValuesIn(TablesHere()), NameOfTable);

}  // namespace
}  // namespace expertile::cpu
