#include "targets/cpu/gated_mlp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "targets/cpu/moe.h"
#include "targets/cpu/plain_product.h"
#include "targets/cpu/tables_here.h"

namespace expertile::cpu {
namespace {

constexpr int64_t kHidden = 70;
constexpr int64_t kIntermediate = 45;
const GatedMlpSpec kSpec = {GatedActivation::kClampedSwiGlu, 7.0f, 1.702f};

PackedExperts OneExpert(const KernelTable& table, WeightFormat format) {
  auto expert = *PackedExperts::Create(table, {1, kHidden, kIntermediate, format, true});
  const PlainMatrix gate = RandomMatrix(kIntermediate, kHidden, 1, 0.2f);
  const PlainMatrix up = RandomMatrix(kIntermediate, kHidden, 2, 0.2f);
  const PlainMatrix down = RandomMatrix(kHidden, kIntermediate, 3, 0.2f);
  expert.Pack(0, {gate, up, down});
  expert.PackBias(
      0, {RandomMatrix(1, kIntermediate, 4).values, RandomMatrix(1, kIntermediate, 5).values,
          RandomMatrix(1, kHidden, 6).values});
  return expert;
}

class GatedMlpRun : public testing::TestWithParam<TableHere> {
 protected:
  const KernelTable& table() const { return *GetParam().table; }
};
INSTANTIATE_TEST_SUITE_P(EveryIsa, GatedMlpRun, testing::ValuesIn(TablesHere()), NameOfTable);

// The bits of one expert that every token chooses with weight one, whatever the workers and the
// number of tokens: few, several row blocks, and not whole ones.
TEST_P(GatedMlpRun, IsAnExpertThatEveryTokenChooses) {
  const int64_t T = 600;
  const PlainMatrix x = RandomMatrix(T, kHidden, 7);
  const std::vector<int32_t> ids(T, 0);
  const std::vector<float> ones(T, 1.0f);
  for (const auto& [type, format] : {std::pair{ComputeType::kFloat32, WeightFormat::kBFloat16},
                                     std::pair{ComputeType::kBFloat16, WeightFormat::kBFloat16},
                                     std::pair{ComputeType::kBFloat16, WeightFormat::kMxint8}}) {
    const PackedExperts expert = OneExpert(table(), format);
    const PackedMlp mlp = {expert.GateUp(0), expert.Down(0)};
    WorkerPool pool(2);
    auto block = *MoeBlock::Create(table(), type, {T, 1, kHidden, kIntermediate, 256}, {}, 2);
    std::vector<float> expected(T * kHidden);
    ASSERT_TRUE(
        block.Run({x.values.data(), ids, ones, T, 1}, expert, kSpec, pool, expected.data()));
    for (const int num_workers : {1, 3}) {
      WorkerPool workers(num_workers);
      auto run = *GatedMlp::Create(table(), type, {T, kHidden, kIntermediate}, num_workers);
      for (const int64_t tokens : {int64_t{1}, int64_t{9}, int64_t{252}, int64_t{253}, T}) {
        std::vector<float> y(tokens * kHidden);
        ASSERT_TRUE(run.Run(x.values.data(), tokens, mlp, kSpec, workers, y.data()));
        EXPECT_TRUE(std::equal(y.begin(), y.end(), expected.begin())) << tokens;
      }
    }
  }
}

TEST_P(GatedMlpRun, IsItsThreeProducts) {
  const PlainMatrix gate = RandomMatrix(45, 40, 1, 0.2f);
  const PlainMatrix up = RandomMatrix(45, 40, 2, 0.2f);
  const PlainMatrix down = RandomMatrix(40, 45, 3, 0.2f);
  auto expert = *PackedExperts::Create(table(), {1, 40, 45, WeightFormat::kFloat32, false});
  expert.Pack(0, {gate, up, down});
  const PlainMatrix x = RandomMatrix(60, 40, 4);
  const PlainMatrix g = FusedProduct(x, gate);
  PlainMatrix activated = FusedProduct(x, up);
  for (size_t i = 0; i < activated.values.size(); ++i) {
    activated.values[i] = static_cast<float>(PlainGated(g.values[i], activated.values[i], {}));
  }
  const PlainMatrix expected = FusedProduct(activated, down);
  WorkerPool pool(2);
  auto run = *GatedMlp::Create(table(), ComputeType::kFloat32, {60, 40, 45}, 2);
  std::vector<float> out(x.values.size());
  ASSERT_TRUE(
      run.Run(x.values.data(), 60, {expert.GateUp(0), expert.Down(0)}, {}, pool, out.data()));
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected.values[i], 1e-5);
}

TEST(GatedMlp, SizesAboveTheLimitsAreErrors) {
  const KernelTable& table = KernelsFor(SupportedIsas().front());
  const PackedExperts expert = OneExpert(table, WeightFormat::kFloat32);
  const PackedMlp mlp = {expert.GateUp(0), expert.Down(0)};
  const std::vector<float> x(5 * kHidden);
  std::vector<float> y(x.size());
  WorkerPool pool(1);
  auto run = *GatedMlp::Create(table, ComputeType::kFloat32, {4, kHidden, kIntermediate}, 1);
  EXPECT_FALSE(run.Run(x.data(), 5, mlp, kSpec, pool, y.data()));
  EXPECT_TRUE(run.Run(x.data(), 4, mlp, kSpec, pool, y.data()));
  auto small = *GatedMlp::Create(table, ComputeType::kFloat32, {4, kHidden, kIntermediate - 1}, 1);
  EXPECT_FALSE(small.Run(x.data(), 4, mlp, kSpec, pool, y.data()));
}

}  // namespace
}  // namespace expertile::cpu
