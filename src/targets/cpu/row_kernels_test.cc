// Norms, rotary embedding and GELU on rows of every length around the vector's, against float64.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "targets/cpu/kernel_table.h"

namespace expertile::cpu {
namespace {

constexpr float kEpsilon = 1e-6f;

class RowKernelsTest : public testing::TestWithParam<Isa> {
 protected:
  std::vector<float> Random(int64_t size, float mean = 0.0f) {
    std::normal_distribution<float> normal(mean, 1.0f);
    std::vector<float> values(size);
    for (float& value : values) value = normal(random_);
    return values;
  }

  std::mt19937 random_{7};
  const RowKernels& rows_ = KernelsFor(GetParam()).rows;
};

constexpr int64_t kSizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 100, 128, 2048};

TEST_P(RowKernelsTest, RmsNorm) {
  for (const int64_t size : kSizes) {
    const std::vector<float> x = Random(size, 3.0f);
    const std::vector<float> weight = Random(size);
    std::vector<float> y(size + 1, -1.0f);
    rows_.rms_norm(x.data(), weight.data(), size, kEpsilon, y.data());
    double squares = 0.0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    const double rms = std::sqrt(squares / static_cast<double>(size) + kEpsilon);
    for (int64_t i = 0; i < size; ++i) {
      const double expected = x[i] / rms * weight[i];
      EXPECT_NEAR(y[i], expected, 4e-7 * std::abs(expected)) << size << " " << i;
    }
    EXPECT_EQ(y[size], -1.0f) << size;
  }
}

// Squares that no float holds.
TEST_P(RowKernelsTest, RmsNormOfLargeValues) {
  const std::vector<float> x(40, 1e30f);
  const std::vector<float> weight(40, 2.0f);
  std::vector<float> y(40);
  rows_.rms_norm(x.data(), weight.data(), 40, kEpsilon, y.data());
  for (const float value : y) EXPECT_NEAR(value, 2.0f, 1e-6f);
}

TEST_P(RowKernelsTest, LayerNorm) {
  for (const int64_t size : kSizes) {
    const std::vector<float> x = Random(size, 3.0f);
    const std::vector<float> weight = Random(size);
    const std::vector<float> bias = Random(size);
    std::vector<float> y(size + 1, -1.0f);
    rows_.layer_norm(x.data(), weight.data(), bias.data(), size, kEpsilon, y.data());
    double mean = 0.0;
    for (const float value : x) mean += value;
    mean /= static_cast<double>(size);
    double squares = 0.0;
    for (const float value : x) squares += (value - mean) * (value - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(size) + kEpsilon);
    for (int64_t i = 0; i < size; ++i) {
      const double expected = (x[i] - mean) / deviation * weight[i] + bias[i];
      // A mean of 3 in float32 is off by up to 2^-23.
      EXPECT_NEAR(y[i], expected, 2e-6 / std::min(1.0, deviation)) << size << " " << i;
    }
    EXPECT_EQ(y[size], -1.0f) << size;
  }
}

TEST_P(RowKernelsTest, RotateRoundsEachProduct) {
  for (const int64_t half : kSizes) {
    std::vector<float> head = Random(2 * half + 1);
    const std::vector<float> old = head;
    const std::vector<float> cos = Random(half);
    const std::vector<float> sin = Random(half);
    rows_.rotate(head.data(), cos.data(), sin.data(), half);
    for (int64_t j = 0; j < half; ++j) {
      volatile float products[] = {old[j] * cos[j], old[half + j] * sin[j], old[half + j] * cos[j],
                                   old[j] * sin[j]};
      EXPECT_EQ(head[j], products[0] - products[1]) << half << " " << j;
      EXPECT_EQ(head[half + j], products[2] + products[3]) << half << " " << j;
    }
    EXPECT_EQ(head[2 * half], old[2 * half]) << half;
  }
}

TEST_P(RowKernelsTest, GeluTanh) {
  for (const int64_t size : kSizes) {
    std::vector<float> x = Random(size + 1);
    for (float& value : x) value *= 4.0f;
    const std::vector<float> old = x;
    rows_.gelu_tanh(x.data(), size);
    for (int64_t i = 0; i < size; ++i) {
      const double v = old[i];
      const double u = std::sqrt(2.0 / M_PI) * (v + 0.044715 * v * v * v);
      EXPECT_NEAR(x[i], 0.5 * v * (1.0 + std::tanh(u)), 2e-6) << v;
    }
    EXPECT_EQ(x[size], old[size]) << size;
  }
  float extremes[] = {-60.0f, 60.0f, std::numeric_limits<float>::quiet_NaN()};
  rows_.gelu_tanh(extremes, 3);
  EXPECT_NEAR(extremes[0], 0.0f, 1e-30f);
  EXPECT_EQ(extremes[1], 60.0f);
  EXPECT_TRUE(std::isnan(extremes[2]));
}

INSTANTIATE_TEST_SUITE_P(Isas, RowKernelsTest, testing::ValuesIn(SupportedIsas()),
                         [](const auto& isa) { return std::string(NameOf(isa.param)); });

}  // namespace
}  // namespace expertile::cpu
