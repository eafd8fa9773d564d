// The reference's arithmetic against formulas worked out by hand.
#include "targets/reference/arithmetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace expertile::reference {
namespace {

Linear LinearOf(int64_t rows, int64_t cols, std::vector<float> values, Vector bias = {}) {
  return {{rows, cols, std::move(values)}, std::move(bias)};
}

TEST(Dot, SumsInFloat64) {
  // In float32 the ones would be lost beside 2^25; lengths that four does not divide.
  for (const size_t size : {1, 3, 4, 7}) {
    Vector a(size, 1.0f);
    const Vector ones(size, 1.0f);
    a[0] = 33554432.0f;
    const double expected = 33554432.0 + static_cast<double>(size - 1);
    EXPECT_EQ(Dot(a, ones), static_cast<float>(expected)) << size;
  }
  EXPECT_EQ(Dot({}, {}), 0.0f);
}

TEST(MultiplyRow, IsAProductAndABias) {
  const Vector x = {1.0f, -2.0f, 3.0f};
  Vector y(2);
  MultiplyRow(x, LinearOf(2, 3, {1, 2, 3, 4, 5, 6}), y);
  EXPECT_EQ(y, (Vector{6.0f, 12.0f}));
  MultiplyRow(x, LinearOf(2, 3, {1, 2, 3, 4, 5, 6}, {0.5f, -1.0f}), y);
  EXPECT_EQ(y, (Vector{6.5f, 11.0f}));
}

TEST(Activate, IsSiluTimesUp) {
  const GatedMlpSpec silu;
  for (const float gate : {-30.0f, -1.0f, 0.0f, 0.5f, 20.0f}) {
    const double expected = gate / (1.0 + std::exp(-static_cast<double>(gate))) * -1.5;
    EXPECT_NEAR(Activate(gate, -1.5f, silu), expected, 1e-6 * (1.0 + std::abs(expected)));
  }
}

TEST(Activate, ClampsGateFromAboveAndUpOnBothSides) {
  const GatedMlpSpec clamped{GatedActivation::kClampedSwiGlu, 7.0f, 1.702f};
  const auto plain = [](double gate, double up) {
    return (up + 1.0) * gate / (1.0 + std::exp(-1.702 * gate));
  };
  EXPECT_NEAR(Activate(2.0f, 3.0f, clamped), plain(2.0, 3.0), 1e-5);
  EXPECT_NEAR(Activate(9.0f, 8.0f, clamped), plain(7.0, 7.0), 1e-4);
  EXPECT_NEAR(Activate(-9.0f, -8.0f, clamped), plain(-9.0, -7.0), 1e-5);
}

TEST(MlpRow, IsDownOfGatedUp) {
  const Mlp mlp{LinearOf(2, 1, {1.0f, -1.0f}), LinearOf(2, 1, {2.0f, 3.0f}, {0.0f, 1.0f}),
                LinearOf(1, 2, {1.0f, 10.0f})};
  const Vector x = {0.5f};
  Vector y(1);
  MlpRow(x, mlp, {}, y);
  const auto silu = [](double v) { return v / (1.0 + std::exp(-v)); };
  EXPECT_NEAR(y[0], silu(0.5) * 1.0 + 10.0 * silu(-0.5) * 2.5, 1e-5);
}

// Three keys of D 2; scores 1, 2 and 3 times the scale.
class Attention : public testing::Test {
 protected:
  std::vector<float> keys_ = {1, 0, 2, 0, 3, 0};
  std::vector<float> values_ = {1, 10, 2, 20, 4, 40};
  Vector query_ = {1, 0};

  Vector Mix(int64_t begin, int64_t end, const float* sink = nullptr) const {
    Vector mixed(2);
    AttendHead(query_, keys_.data(), values_.data(), begin, end, 0.5f, sink, mixed);
    return mixed;
  }
};

TEST_F(Attention, MixesTheKeysOfItsRange) {
  const double a = std::exp(0.5), b = std::exp(1.0), c = std::exp(1.5);
  EXPECT_NEAR(Mix(0, 3)[0], (a + 2 * b + 4 * c) / (a + b + c), 1e-5);
  EXPECT_NEAR(Mix(0, 3)[1], 10 * (a + 2 * b + 4 * c) / (a + b + c), 1e-4);
  EXPECT_NEAR(Mix(1, 3)[0], (2 * b + 4 * c) / (b + c), 1e-5);
  EXPECT_EQ(Mix(1, 2), (Vector{2.0f, 20.0f}));
}

TEST_F(Attention, ASinkJoinsTheSumAlone) {
  const double a = std::exp(0.5), b = std::exp(1.0), sink = std::exp(2.0);
  const float logit = 2.0f;
  EXPECT_NEAR(Mix(0, 2, &logit)[0], (a + 2 * b) / (a + b + sink), 1e-5);
}

}  // namespace
}  // namespace expertile::reference
