// The reference's ops on whole tensors: rows, MoE layers, images.
#include "targets/reference/reference_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "targets/reference/arithmetic.h"

namespace expertile::reference {
namespace {

Tensor RandomTensor(int64_t rows, int64_t width, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  Tensor x = Tensor::Zeros(rows, width);
  for (float& value : x.values) value = uniform(random);
  return x;
}

Mlp RandomMlp(int64_t I, int64_t H, uint32_t seed) {
  return {{RandomTensor(I, H, seed), {}},
          {RandomTensor(I, H, seed + 1), {}},
          {RandomTensor(H, I, seed + 2), {}}};
}

constexpr int kNumExperts = 5;
constexpr int64_t kHidden = 6;

// Ops of a decoder with one attention layer, with or without blocking.
ReferenceOps MakeOps(int num_nsp = 0, int64_t packed_chunk_size = 3) {
  DecoderSpec spec;
  spec.hidden_size = kHidden;
  spec.layers = {{AttentionSpec{.num_heads = 2, .num_kv_heads = 1, .head_dim = 4}, MlpSpec{}}};
  const TargetOptions options{
      .blocking = {num_nsp, packed_chunk_size}, .num_workers = 2, .ctx_len = 8};
  const ReferenceOps::Context context{options, std::make_shared<WorkerPool>(2),
                                      *Placement::CreateIfBlocked(kNumExperts, num_nsp)};
  return std::move(*ReferenceOps::Create(spec, context));
}

TEST(ReferenceRowOps, ScaleAndAdd) {
  const ReferenceOps ops = MakeOps();
  const Tensor x{1, 3, {1, 2, 3}};
  EXPECT_EQ(ops.Scale(x, 2.0f).values, (Vector{2, 4, 6}));
  EXPECT_EQ(ops.AddScaled(x, {1, 3, {10, 20, 30}}, 0.5f).values, (Vector{6, 12, 18}));
}

// Two heads of D 4: pairs (0, 2) and (1, 3) turn by the row's angles.
TEST(ReferenceRowOps, RotateTurnsThePairsOfEveryHead) {
  const ReferenceOps ops = MakeOps();
  const Rotation quarter{{1, 2, {0, 1}}, {1, 2, {1, 0}}};  // the first by 90 degrees
  const Tensor x{1, 8, {1, 2, 3, 4, 5, 6, 7, 8}};
  EXPECT_EQ(ops.Rotate(x, quarter).values, (Vector{-3, 2, 1, 4, -7, 6, 5, 8}));
}

TEST(ReferenceOps, RmsNormOfRowsAndOfHeads) {
  const ReferenceOps ops = MakeOps();
  const Tensor x{1, 4, {3, 4, 6, 8}};
  const Tensor heads = ops.RmsNorm(x, Vector{1, 2}, 0.0f);
  const float first = std::sqrt(12.5f);
  EXPECT_NEAR(heads.values[0], 3 / first, 1e-6);
  EXPECT_NEAR(heads.values[1], 2 * 4 / first, 1e-6);
  EXPECT_NEAR(heads.values[2], 6 / (2 * first), 1e-6);
  const Tensor row = ops.RmsNorm(x, Vector{1, 1, 1, 1}, 0.0f);
  EXPECT_NEAR(row.values[3], 8 / std::sqrt(125.0f / 4), 1e-6);
}

TEST(ReferenceOps, AddGatedWeighsBySigmoid) {
  const ReferenceOps ops = MakeOps();
  const Linear gate{{1, 2, {1, -1}}, {}};
  const Tensor y =
      ops.AddGated({2, 2, {1, 2, 3, 4}}, {2, 2, {10, 20, 30, 40}}, {2, 2, {5, 5, 3, 1}}, gate);
  const double weight = 1.0 / (1.0 + std::exp(-2.0));
  EXPECT_EQ(y.values[0], 6.0f);
  EXPECT_EQ(y.values[1], 12.0f);
  EXPECT_NEAR(y.values[2], 3 + 30 * weight, 1e-5);
  EXPECT_NEAR(y.values[3], 4 + 40 * weight, 1e-5);
}

class MoeLayer : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 11;
  static constexpr int kPerToken = 2;

  MoeLayer() {
    for (int e = 0; e < kNumExperts; ++e) experts_.push_back(RandomMlp(4, kHidden, 10 * e));
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int k = 0; k < kPerToken; ++k) {
        routing_.ids.push_back(static_cast<int32_t>((t * t + 3 * k) % kNumExperts));
        routing_.weights.push_back(0.25f + 0.5f * static_cast<float>(k));
      }
    }
  }

  Tensor Run(StepKind kind, int num_nsp, int64_t packed_chunk_size) const {
    ReferenceOps ops = MakeOps(num_nsp, packed_chunk_size);
    Step step;
    step.kind = kind;
    ops.Begin(step);
    return ops.Moe(x_, routing_, experts_, {});
  }

  Tensor x_ = RandomTensor(kTokens, kHidden, 99);
  Experts experts_;
  Routing routing_{kPerToken, {}, {}};
};

TEST_F(MoeLayer, IsTheWeightedSumOfTheChosenExperts) {
  const Tensor y = Run(StepKind::kPrefill, 0, 256);
  for (int64_t t = 0; t < kTokens; ++t) {
    std::vector<double> expected(kHidden, 0.0);
    for (int64_t a = t * kPerToken; a < (t + 1) * kPerToken; ++a) {
      Vector row(kHidden);
      MlpRow(x_.Row(t), experts_[routing_.ids[a]], {}, row);
      for (int64_t i = 0; i < kHidden; ++i) expected[i] += routing_.weights[a] * row[i];
    }
    for (int64_t i = 0; i < kHidden; ++i) EXPECT_NEAR(y.Row(t)[i], expected[i], 1e-6);
  }
}

TEST_F(MoeLayer, HasOneAnswer) {
  const Vector expected = Run(StepKind::kPrefill, 0, 256).values;
  EXPECT_EQ(Run(StepKind::kDecode, 0, 256).values, expected);
  for (int num_nsp = 1; num_nsp <= kNumExperts; ++num_nsp) {
    for (const int64_t chunk : {1, 2, 256}) {
      EXPECT_EQ(Run(StepKind::kPrefill, num_nsp, chunk).values, expected)
          << num_nsp << " " << chunk;
    }
  }
}

class Images : public testing::Test {
 protected:
  Images() : ops_({TargetOptions{}, std::make_shared<WorkerPool>(2), std::nullopt}) {}
  ReferenceVisionOps ops_;
};

TEST_F(Images, LayerNormUsesThePopulationsVariance) {
  const Tensor y = ops_.LayerNorm({1, 4, {1, 2, 3, 6}}, {1, 1, 1, 2}, {0, 0, 0.5f, 0}, 0.0f);
  const double deviation = std::sqrt(3.5);
  EXPECT_NEAR(y.values[0], -2 / deviation, 1e-6);
  EXPECT_NEAR(y.values[2], 0.5, 1e-6);
  EXPECT_NEAR(y.values[3], 2 * 3 / deviation, 1e-6);
}

TEST_F(Images, GeluOfBothKinds) {
  const double x = 0.7;
  const double erf = 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
  const double bend = std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x);
  EXPECT_NEAR(ops_.Gelu({1, 1, {0.7f}}, GeluKind::kErf).values[0], erf, 1e-6);
  EXPECT_NEAR(ops_.Gelu({1, 1, {0.7f}}, GeluKind::kTanh).values[0], 0.5 * x * (1 + std::tanh(bend)),
              1e-6);
}

TEST_F(Images, WeightedRowsOfATable) {
  const std::vector<float> table = {1, 2, 3, 4, 5, 6};  // [3,2]
  const MatrixView view{DType::kF32, reinterpret_cast<const std::byte*>(table.data()), 3, 2, 2, 1,
                        nullptr};
  const std::vector<int32_t> indices = {0, 2, 1, 1};
  const std::vector<float> weights = {0.5f, 2.0f, 1.0f, -1.0f};
  EXPECT_EQ(ops_.WeightedRows(view, indices, weights, 2).values, (Vector{10.5f, 13, 0, 0}));
}

// Each segment's rows see all of their own segment and nothing of the other.
TEST_F(Images, AttentionStaysInItsSegment) {
  const Tensor query = RandomTensor(4, 2, 1);
  const Tensor key = RandomTensor(4, 2, 2);
  Tensor value = RandomTensor(4, 2, 3);
  const Tensor mixed = ops_.SegmentAttention(query, key, value, 1, 0.5f, 2);
  value.Row(3)[0] += 1.0f;
  const Tensor changed = ops_.SegmentAttention(query, key, value, 1, 0.5f, 2);
  for (int64_t t = 0; t < 4; ++t) {
    EXPECT_EQ(mixed.Row(t)[0] != changed.Row(t)[0], t >= 2) << t;
    EXPECT_EQ(mixed.Row(t)[1], changed.Row(t)[1]) << t;
  }
}

TEST_F(Images, JoinRowsPutsThemSideBySide) {
  const Tensor joined = ops_.JoinRows({4, 2, {1, 2, 3, 4, 5, 6, 7, 8}}, 2);
  EXPECT_EQ(joined.rows, 2);
  EXPECT_EQ(joined.width, 4);
  EXPECT_EQ(joined.Row(1)[0], 5.0f);
}

}  // namespace
}  // namespace expertile::reference
