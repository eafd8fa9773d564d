#include "targets/cpu/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "targets/cpu/plain_product.h"
#include "targets/cpu/tables_here.h"

namespace expertile::cpu {
namespace {

class LinearRun : public testing::TestWithParam<TableHere> {
 protected:
  const KernelTable& table() const { return *GetParam().table; }
};
INSTANTIATE_TEST_SUITE_P(EveryIsa, LinearRun, testing::ValuesIn(TablesHere()), NameOfTable);

TEST_P(LinearRun, IsTheFusedSumForEveryRowCountAndWorkerCount) {
  const PlainMatrix weights = RandomMatrix(150, 40, 1);
  const std::vector<float> bias = RandomMatrix(1, 150, 2).values;
  const auto packed =
      *PackedMatrix::Create(table(), WeightFormat::kFloat32, 150, 40, weights, bias);
  const PlainMatrix others = RandomMatrix(33, 40, 4);
  const auto packed_others =
      *PackedMatrix::Create(table(), WeightFormat::kFloat32, 33, 40, others, {});
  for (const int64_t rows : {1, 2, 30, 252, 253, 600}) {
    const PlainMatrix x = RandomMatrix(rows, 40, 3);
    const PlainMatrix expected = FusedProduct(x, weights, bias);
    const PlainMatrix expected_others = FusedProduct(x, others, {});
    for (const int num_workers : {1, 3}) {
      WorkerPool pool(num_workers);
      Linear linear = *Linear::Create(table(), ComputeType::kFloat32, 600, 64, num_workers);
      std::vector<float> out(expected.values.size(), std::numeric_limits<float>::quiet_NaN());
      std::vector<float> out_others(expected_others.values.size());
      std::vector<float> again(out.size());
      const LinearProduct products[] = {
          {&packed_others, out_others.data()}, {&packed, out.data()}, {&packed, again.data()}};
      for (const size_t count : {2, 3}) {
        std::ranges::fill(out, std::numeric_limits<float>::quiet_NaN());
        ASSERT_TRUE(linear.Run(x.values.data(), rows, std::span(products).first(count), pool));
        EXPECT_EQ(out, expected.values) << rows << " rows, " << num_workers << " workers";
        EXPECT_EQ(out_others, expected_others.values);
      }
    }
  }
}

TEST_P(LinearRun, ByRowsGivesTheSameBitsAndFinishesEveryRowOnce) {
  const PlainMatrix weights = Rounded(RandomMatrix(40, 72, 1));
  for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kBFloat16}) {
    const auto packed = *PackedMatrix::Create(table(), format, 40, 72, weights, {});
    for (const ComputeType type :
         {ComputeType::kFloat32, ComputeType::kBFloat16, ComputeType::kExact}) {
      if (type == ComputeType::kBFloat16 && format == WeightFormat::kFloat32) continue;
      for (const int64_t rows : {1, 40, 253, 600}) {
        const PlainMatrix x = RandomMatrix(rows, 72, 3);
        for (const int num_workers : {1, 3}) {
          WorkerPool pool(num_workers);
          Linear linear = *Linear::Create(table(), type, 600, 72, num_workers);
          std::vector<float> expected(rows * 40);
          const LinearProduct whole = {&packed, expected.data()};
          ASSERT_TRUE(linear.Run(x.values.data(), rows, {&whole, 1}, pool));
          std::vector<float> out(expected.size());
          std::vector<std::atomic<int>> finished(rows);
          ASSERT_TRUE(linear.RunByRows(x.values.data(), rows, {&packed, out.data()}, pool,
                                       [&](int64_t begin, int64_t end) {
                                         for (int64_t r = begin; r < end; ++r) {
                                           ++finished[r];
                                           EXPECT_EQ(out[r * 40 + 39], expected[r * 40 + 39]);
                                         }
                                       }));
          EXPECT_EQ(out, expected) << rows << " rows, " << num_workers << " workers";
          EXPECT_TRUE(std::ranges::all_of(finished, [](const auto& n) { return n == 1; }));
        }
      }
    }
  }
}

TEST_P(LinearRun, SizesAboveThoseOfCreateAreErrors) {
  const PlainMatrix weights = RandomMatrix(8, 40, 1);
  const auto packed = *PackedMatrix::Create(table(), WeightFormat::kFloat32, 8, 40, weights, {});
  WorkerPool pool(1);
  std::vector<float> x(5 * 40), out(5 * 8);
  const LinearProduct parts[] = {{&packed, out.data()}};
  Linear short_rows = *Linear::Create(table(), ComputeType::kFloat32, 5, 39, 1);
  EXPECT_FALSE(short_rows.Run(x.data(), 5, parts, pool));
  Linear few_rows = *Linear::Create(table(), ComputeType::kFloat32, 4, 40, 1);
  EXPECT_FALSE(few_rows.Run(x.data(), 5, parts, pool));
}

}  // namespace
}  // namespace expertile::cpu
