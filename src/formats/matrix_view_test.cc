#include "formats/matrix_view.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

namespace expertile {
namespace {

// A tensor whose element i (in row-major order) is i, at an odd address.
class CountingTensor {
 public:
  CountingTensor(DType dtype, std::vector<int64_t> shape) {
    const auto size = static_cast<size_t>(CheckedByteSize(dtype, shape).value());
    storage_.resize(size + 16);
    size_t offset = 0;
    while (reinterpret_cast<uintptr_t>(storage_.data() + offset) % 2 == 0) ++offset;
    view_ = {dtype, std::move(shape), std::span(storage_).subspan(offset, size)};
    for (int64_t i = 0; i < view_.num_elements(); ++i) Store(storage_.data() + offset, i);
  }
  const TensorView& view() const { return view_; }

 private:
  void Store(std::byte* begin, int64_t i) {
    const auto value = static_cast<float>(i);
    const uint16_t bits = view_.dtype == DType::kBF16 ? FloatToBFloat16(value) : HalfOf(i);
    if (view_.dtype == DType::kF32) {
      std::memcpy(begin + i * 4, &value, 4);
    } else {
      std::memcpy(begin + i * 2, &bits, 2);
    }
  }
  static uint16_t HalfOf(int64_t i) {
    for (uint16_t bits = 0; bits < 0x7c00; ++bits) {
      if (HalfToFloat(bits) == static_cast<float>(i)) return bits;
    }
    return 0x7e00;
  }

  std::vector<std::byte> storage_;
  TensorView view_;
};

// Expects element (r, c) to be expected(r, c) by both ways of reading.
template <typename Function>
void ExpectElements(const MatrixView& matrix, int64_t rows, int64_t cols, Function expected) {
  ASSERT_EQ(matrix.rows, rows);
  ASSERT_EQ(matrix.cols, cols);
  std::vector<float> row(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    matrix.ReadRow(r, row);
    for (int64_t c = 0; c < cols; ++c) {
      EXPECT_EQ(matrix.At(r, c), static_cast<float>(expected(r, c))) << r << "," << c;
      EXPECT_EQ(row[static_cast<size_t>(c)], static_cast<float>(expected(r, c))) << r << "," << c;
    }
  }
}

class MatrixViewTest : public testing::TestWithParam<DType> {};

TEST_P(MatrixViewTest, ReadsMatricesAndVectors) {
  const CountingTensor matrix(GetParam(), {3, 5});
  ExpectElements(MatrixOf(matrix.view(), "w").value(), 3, 5,
                 [](int64_t r, int64_t c) { return r * 5 + c; });
  const CountingTensor vector(GetParam(), {7});
  ExpectElements(MatrixOf(vector.view(), "w").value(), 1, 7, [](int64_t, int64_t c) { return c; });
}

TEST_P(MatrixViewTest, EveryExpertLayoutIsAPlainMatrix) {
  const CountingTensor fused(GetParam(), {3, 4, 5});  // [E,2I,H]
  for (int64_t e = 0; e < 3; ++e) {
    const MatrixView expert = SliceOf(fused.view(), e, "w").value();
    const auto element = [e](int64_t r, int64_t c) { return (e * 4 + r) * 5 + c; };
    ExpectElements(expert, 4, 5, element);
    ExpectElements(expert.Transposed(), 5, 4, [&](int64_t r, int64_t c) { return element(c, r); });
    ExpectElements(expert.Rows(2, 2).value(), 2, 5,
                   [&](int64_t r, int64_t c) { return element(r + 2, c); });
    ExpectElements(expert.Rows(1, 2, 2).value(), 2, 5,
                   [&](int64_t r, int64_t c) { return element(2 * r + 1, c); });
    // [E,H,2I] with gate and up interleaved: transpose, then every other row.
    ExpectElements(expert.Transposed().Rows(1, 2, 2).value(), 2, 4,
                   [&](int64_t r, int64_t c) { return element(c, 2 * r + 1); });
    // A view of a view.
    ExpectElements(expert.Rows(0, 2, 2).value().Rows(1, 1).value().Transposed(), 5, 1,
                   [&](int64_t r, int64_t) { return element(2, r); });
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, MatrixViewTest,
                         testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                         [](const auto& parameter) {
                           return std::string(NameOf(parameter.param));
                         });

TEST(MatrixView, RefusesOtherRanksAndDTypes) {
  const CountingTensor cube(DType::kF32, {2, 2, 2});
  const CountingTensor matrix(DType::kF32, {2, 2});
  const CountingTensor scalar(DType::kF32, {});
  EXPECT_EQ(MatrixOf(cube.view(), "w").error().message,
            "w: shape [2,2,2], expected [rows,cols] or [cols]");
  EXPECT_FALSE(MatrixOf(scalar.view(), "w"));
  EXPECT_EQ(SliceOf(matrix.view(), 0, "w").error().message,
            "w: shape [2,2], expected [experts,rows,cols]");
  for (const DTypeRow& row : kDTypes) {
    const bool is_read =
        row.dtype == DType::kF32 || row.dtype == DType::kBF16 || row.dtype == DType::kF16;
    const TensorView empty = {row.dtype, {0, 4}, {}};
    EXPECT_EQ(MatrixOf(empty, "w").has_value(), is_read) << row.name;
  }
  EXPECT_EQ(MatrixOf({DType::kI64, {0, 4}, {}}, "w").error().message,
            "w: dtype I64, expected F32, BF16 or F16");
}

TEST(MatrixView, RefusesSlicesAndRowsThatAreNotThere) {
  const CountingTensor fused(DType::kF32, {3, 4, 5});
  EXPECT_EQ(SliceOf(fused.view(), 3, "w").error().message, "w: slice 3 of a tensor of 3");
  EXPECT_FALSE(SliceOf(fused.view(), -1, "w"));
  const MatrixView matrix = SliceOf(fused.view(), 2, "w").value();
  EXPECT_TRUE(matrix.Rows(0, 4));
  EXPECT_TRUE(matrix.Rows(4, 0));
  EXPECT_TRUE(matrix.Rows(3, 1, INT64_MAX));
  EXPECT_TRUE(matrix.Rows(1, 2, 2));
  EXPECT_FALSE(matrix.Rows(1, 2, 3));
  EXPECT_FALSE(matrix.Rows(0, 5));
  EXPECT_FALSE(matrix.Rows(-1, 1));
  EXPECT_FALSE(matrix.Rows(0, -1));
  EXPECT_FALSE(matrix.Rows(0, 1, 0));
  EXPECT_FALSE(matrix.Rows(4, 1));
  EXPECT_FALSE(matrix.Rows(5, 0));
  EXPECT_FALSE(matrix.Rows(1, INT64_MAX, INT64_MAX));
  EXPECT_EQ(matrix.Rows(1, 2, 3).error().message,
            "2 rows from 1 in steps of 3 are not within a matrix of 4 rows");
}

TEST(MatrixView, EmptyMatricesOfHugeShapesAreHarmless) {
  const TensorView wide = {DType::kF32, {0, INT64_MAX}, {}};
  const TensorView tall = {DType::kF32, {INT64_MAX, 0}, {}};
  EXPECT_EQ(MatrixOf(wide, "w")->Rows(0, 0, INT64_MAX)->rows, 0);
  MatrixOf(tall, "w")->ReadRow(INT64_MAX - 1, {});
  EXPECT_FALSE(SliceOf({DType::kF32, {0, INT64_MAX, INT64_MAX}, {}}, 0, "w"));
}

}  // namespace
}  // namespace expertile
