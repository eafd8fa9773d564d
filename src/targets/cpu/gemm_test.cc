#include "targets/cpu/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "targets/cpu/packed_weights.h"
#include "targets/cpu/plain_product.h"
#include "targets/cpu/tables_here.h"

namespace expertile::cpu {
namespace {

// x x weights through packing, tile kernels and row store; one panel range.
std::vector<float> Product(const KernelTable& table, ComputeType type, WeightFormat format,
                           const PlainMatrix& x, const PlainMatrix& weights,
                           const std::vector<float>& bias = {}) {
  const Gemm gemm = Gemm(table, type).For(format);
  const auto matrix =
      PackedMatrix::Create(table, format, weights.rows, weights.columns, weights, bias);
  EXPECT_TRUE(matrix.has_value());
  AlignedBuffer<std::byte> packed(static_cast<size_t>(gemm.PackedBytes(x.rows, x.columns)));
  PanelScratch scratch;
  EXPECT_TRUE(scratch.Reserve(table, x.rows));
  const PackedRows a = gemm.View(packed.data(), x.rows, x.columns);
  gemm.Pack(x.values.data(), x.columns, nullptr, a, {0, a.tiles.num_tiles()});
  std::vector<float> out(static_cast<size_t>(x.rows * weights.rows),
                         std::numeric_limits<float>::quiet_NaN());
  gemm.Store(a, matrix->view(), {0, matrix->view().num_panels()},
             {out.data(), weights.rows, nullptr}, scratch);
  return out;
}

void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << "element " << i << ": " << a[i] << " and " << b[i];
  }
}

class Kernels : public testing::TestWithParam<TableHere> {
 protected:
  const KernelTable& table() const { return *GetParam().table; }
};
INSTANTIATE_TEST_SUITE_P(EveryIsa, Kernels, testing::ValuesIn(TablesHere()), NameOfTable);

void ExpectEvenTiles(int64_t rows, int max_tile_rows, int unit) {
  const RowTiles tiles(rows, max_tile_rows, unit);
  EXPECT_EQ(tiles.num_tiles(), CeilDiv(rows, max_tile_rows));
  int64_t next = 0;
  for (int64_t t = 0; t < tiles.num_tiles(); ++t) {
    EXPECT_EQ(tiles.Begin(t), next);
    EXPECT_GE(tiles.Size(t), 1);
    EXPECT_LE(tiles.Size(t), max_tile_rows);
    const bool is_last = t + 1 == tiles.num_tiles();
    EXPECT_TRUE(is_last || tiles.Size(t) % unit == 0);
    EXPECT_LE(tiles.Size(0) - RoundUp(tiles.Size(t), unit), unit);
    next += tiles.Size(t);
  }
  EXPECT_EQ(next, rows);
}

TEST(RowTiles, CoverTheRowsEvenly) {
  for (int64_t rows = 0; rows <= 200; ++rows) {
    ExpectEvenTiles(rows, 14, 1);
    ExpectEvenTiles(rows, 32, 16);
  }
}

// The one accumulation order: fused, increasing k, for every row count, tail and K-slice.
TEST_P(Kernels, Float32IsTheFusedSumInOrder) {
  const int64_t depth = 2 * 384 + 37;  // several slices on every instruction set, odd
  const PlainMatrix weights = RandomMatrix(37, depth, 1);
  const std::vector<float> bias = RandomMatrix(1, 37, 2).values;
  for (int64_t rows = 1; rows <= 50; ++rows) {
    const PlainMatrix x = RandomMatrix(rows, depth, 3);
    ExpectSameBits(
        Product(table(), ComputeType::kFloat32, WeightFormat::kFloat32, x, weights, bias),
        FusedProduct(x, weights, bias).values);
  }
}

// Activations enter as they are: what is left is the rounding of sums of float32.
TEST_P(Kernels, ExactHasFloat32sPrecisionAndOneAnswerForEveryRowCount) {
  for (const int64_t depth : {2, 40, 4096 + 37}) {
    const PlainMatrix weights = Rounded(RandomMatrix(37, depth, 1));
    const PlainMatrix all = RandomMatrix(33, depth, 3);
    const auto product = [&](const PlainMatrix& x, WeightFormat format) {
      return Product(table(), ComputeType::kExact, format, x, weights);
    };
    const std::vector<float> expected = product(all, WeightFormat::kBFloat16);
    double error = 0.0;
    double norm = 0.0;
    for (int64_t i = 0; i < std::ssize(expected); ++i) {
      double sum = 0.0;
      for (int64_t k = 0; k < depth; ++k) {
        sum += double{all.Row(i / 37)[k]} * double{weights.Row(i % 37)[k]};
      }
      error += (expected[i] - sum) * (expected[i] - sum);
      norm += sum * sum;
    }
    EXPECT_LT(std::sqrt(error / norm), 2e-6) << depth;
    for (const int64_t rows : {1, 2, 15, 16, 17, 31}) {
      PlainMatrix x = all;
      x.rows = rows;
      x.values.resize(rows * depth);
      ExpectSameBits(product(x, WeightFormat::kBFloat16),
                     {expected.begin(), expected.begin() + rows * 37});
      ExpectSameBits(product(x, WeightFormat::kFloat32), FusedProduct(x, weights, {}).values);
    }
  }
}

TEST_P(Kernels, ExactKeepsWhatIsNotFiniteInItsRow) {
  const PlainMatrix weights = Rounded(RandomMatrix(37, 70, 1));
  const PlainMatrix finite = RandomMatrix(5, 70, 3);
  const auto product = [&](const PlainMatrix& x) {
    return Product(table(), ComputeType::kExact, WeightFormat::kBFloat16, x, weights);
  };
  const std::vector<float> expected = product(finite);
  for (const uint32_t bits : {0x7f800000u, 0xff800000u, 0x7fc00000u, 0x7f800001u}) {
    PlainMatrix x = finite;
    x.values[2 * 70 + 69] = std::bit_cast<float>(bits);
    const std::vector<float> out = product(x);
    for (int64_t i = 0; i < std::ssize(out); ++i) {
      if (i / 37 == 2) {
        EXPECT_FALSE(std::isfinite(out[i]));
      } else {
        EXPECT_EQ(out[i], expected[i]);
      }
    }
  }
}

TEST_P(Kernels, SmallAndRaggedShapes) {
  for (const int64_t depth : {1, 2, 15, 16, 17, 31, 33, 192, 193}) {
    for (const int64_t out : {1, 16, 31, 32, 33, 65}) {
      const PlainMatrix weights = RandomMatrix(out, depth, 1);
      const PlainMatrix x = RandomMatrix(5, depth, 2);
      ExpectSameBits(Product(table(), ComputeType::kFloat32, WeightFormat::kFloat32, x, weights),
                     FusedProduct(x, weights).values);
    }
  }
}

TEST_P(Kernels, BFloat16WeightsGiveTheBitsOfTheSameWeightsInFloat32) {
  const PlainMatrix weights = Rounded(RandomMatrix(50, 401, 1));
  for (const int64_t rows : {1, 2, 7, 20, 33}) {
    const PlainMatrix x = RandomMatrix(rows, 401, 2);
    ExpectSameBits(Product(table(), ComputeType::kFloat32, WeightFormat::kBFloat16, x, weights),
                   FusedProduct(x, weights).values);
  }
}

TEST_P(Kernels, BFloat16ComputeIsNearTheProductOfRoundedOperands) {
  const PlainMatrix weights = Rounded(RandomMatrix(50, 401, 1));
  const PlainMatrix x = RandomMatrix(20, 401, 2);
  const auto out = Product(table(), ComputeType::kBFloat16, WeightFormat::kBFloat16, x, weights);
  const PlainMatrix expected = FusedProduct(Rounded(x), weights);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected.values[i], 401 * 1e-6);
}

TEST_P(Kernels, BFloat16ComputeDoesNotDependOnTheRowCount) {
  const PlainMatrix weights = Rounded(RandomMatrix(50, 401, 1));
  const PlainMatrix x = RandomMatrix(50, 401, 2);
  const auto all = Product(table(), ComputeType::kBFloat16, WeightFormat::kBFloat16, x, weights);
  for (int64_t rows = 1; rows < 50; ++rows) {
    const PlainMatrix some = {rows, 401, {x.values.begin(), x.values.begin() + rows * 401}};
    const auto out =
        Product(table(), ComputeType::kBFloat16, WeightFormat::kBFloat16, some, weights);
    ExpectSameBits(out, {all.begin(), all.begin() + rows * 50});
  }
}

// What the tests of emulated tiles say of other machines holds for those that have AMX.
TEST(EmulatedTiles, GiveTheBitsOfTheProcessors) {
  const std::vector<Isa> supported = SupportedIsas();
  if (std::ranges::find(supported, Isa::kAmx) == supported.end()) {
    GTEST_SKIP() << "this machine has no amx";
  }
  const PlainMatrix weights = Rounded(RandomMatrix(50, 401, 1));
  for (const int64_t rows : {1, 15, 16, 17, 32, 33, 40, 48, 60}) {
    const PlainMatrix x = RandomMatrix(rows, 401, 2);
    const auto product = [&](const KernelTable& table) {
      return Product(table, ComputeType::kBFloat16, WeightFormat::kBFloat16, x, weights);
    };
    ExpectSameBits(product(KernelsAmx()), product(KernelsEmulatedAmx()));
  }
}

TEST_P(Kernels, RoundingToBFloat16IsTheScalarOne) {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               1.0f,
                               0x1.01p0f,
                               0x1.03p0f,
                               0x1.fffffep127f,
                               0x1p-140f,
                               std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN()};
  const PlainMatrix one = {1, 1, {1.0f}};
  for (const float value : values) {
    const PlainMatrix x = {1, 1, {value}};
    const float out = Product(table(), ComputeType::kBFloat16, WeightFormat::kBFloat16, x, one)[0];
    const float expected = BFloat16ToFloat(FloatToBFloat16(value));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(out));
    } else if (out != expected) {
      EXPECT_NEAR(out, expected, 0x1p-126f) << value;  // vdpbf16ps flushes subnormals
    }
  }
}

// One row of gates and ups through the activation, read back from a packed tile by a unit product.
std::vector<float> Activated(const KernelTable& table, const std::vector<float>& gate,
                             const std::vector<float>& up, const GatedMlpSpec& spec) {
  const int half = table.panel_columns / 2;
  std::vector<float> out;
  for (size_t i = 0; i < gate.size(); ++i) {
    alignas(64) float c[kMaxPanelColumns] = {};
    alignas(64) float tile[kDepthMultiple] = {};
    const int lane = static_cast<int>(i) % half;  // every lane position is used
    c[lane] = gate[i];
    c[half + lane] = up[i];
    table.float32.gate(c, 1, nullptr, spec, 0, reinterpret_cast<std::byte*>(tile));
    out.push_back(tile[lane]);
  }
  return out;
}

TEST_P(Kernels, GatedActivationsFollowTheirFormulas) {
  std::vector<float> gate;
  std::vector<float> up;
  for (float g = -100.0f; g <= 100.0f; g += 0.37f) {
    gate.push_back(g);
    up.push_back(std::sin(g) * 9.0f);
  }
  for (const GatedMlpSpec& spec :
       {GatedMlpSpec{}, GatedMlpSpec{GatedActivation::kClampedSwiGlu, 7.0f, 1.702f}}) {
    const std::vector<float> out = Activated(table(), gate, up, spec);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double expected = PlainGated(gate[i], up[i], spec);
      EXPECT_NEAR(out[i], expected, 1e-34 + std::abs(expected) * 1e-6 * (1 + std::abs(gate[i])))
          << gate[i];
    }
  }
}

TEST_P(Kernels, NotANumberIsKeptByTheActivations) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const GatedMlpSpec& spec :
       {GatedMlpSpec{}, GatedMlpSpec{GatedActivation::kClampedSwiGlu, 7.0f, 1.702f}}) {
    const std::vector<float> out = Activated(table(), {nan, 1.0f}, {1.0f, nan}, spec);
    EXPECT_TRUE(std::isnan(out[0]));
    EXPECT_TRUE(std::isnan(out[1]));
  }
}

TEST_P(Kernels, ActivationBitsAreThoseOfTheFirstInstructionSet) {
  std::vector<float> gate = RandomMatrix(1, 500, 1, 4.0f).values;
  std::vector<float> up = RandomMatrix(1, 500, 2, 4.0f).values;
  const GatedMlpSpec spec = {GatedActivation::kClampedSwiGlu, 7.0f, 1.702f};
  ExpectSameBits(Activated(table(), gate, up, spec),
                 Activated(KernelsFor(SupportedIsas().front()), gate, up, spec));
}

TEST_P(Kernels, CombineIsTheFusedSumInOrder) {
  for (const int64_t size : {1, 15, 16, 100}) {
    const PlainMatrix y = RandomMatrix(8, size, 1);
    const std::vector<float> weights = RandomMatrix(1, 8, 2).values;
    std::vector<float> out(static_cast<size_t>(size));
    table().combine(y.values.data(), weights.data(), 8, size, out.data());
    for (int64_t h = 0; h < size; ++h) {
      float sum = 0.0f;
      for (int64_t k = 0; k < 8; ++k)
        sum = std::fma(weights[static_cast<size_t>(k)], y.Row(k)[h], sum);
      EXPECT_EQ(out[static_cast<size_t>(h)], sum);
    }
  }
}

TEST(PackedMatrix, ImpossibleSizesAreErrors) {
  const KernelTable& table = KernelsFor(SupportedIsas().front());
  const auto none = [](int64_t, float*) {};
  EXPECT_FALSE(PackedMatrix::Create(table, WeightFormat::kFloat32, 0, 4, none, {}).has_value());
  EXPECT_FALSE(PackedMatrix::Create(table, WeightFormat::kFloat32, 4, int64_t{1} << 40, none, {})
                   .has_value());
  EXPECT_FALSE(
      PackedExperts::Create(table, {1 << 30, 1 << 27, 1 << 27, WeightFormat::kFloat32, false})
          .has_value());
}

}  // namespace
}  // namespace expertile::cpu
