#include "model/vision_positions.h"

#include <gtest/gtest.h>

#include "model/vision_position_goldens.h"

namespace expertile {
namespace {

TEST(ComputeVisionPositions, EqualsTransformers) {
  const auto goldens = VisionPositionGoldens();
  ASSERT_FALSE(goldens["patches"].empty());
  for (const auto& golden : goldens["patches"]) {
    SCOPED_TRACE(golden["grids"].dump());
    const auto positions =
        ComputeVisionPositions(GridsOf(golden), golden["merge_size"], golden["grid_side"]);
    ASSERT_TRUE(positions) << positions.error().message;
    EXPECT_EQ(positions->rows, golden["rows"].get<std::vector<int32_t>>());
    EXPECT_EQ(positions->columns, golden["columns"].get<std::vector<int32_t>>());
    EXPECT_EQ(positions->tap_indices, golden["tap_indices"].get<std::vector<int32_t>>());
    EXPECT_EQ(positions->tap_weights, golden["tap_weights"].get<std::vector<float>>());
  }
}

TEST(ComputeVisionPositions, WeightsOfAPatchSumToOneWithinTheTable) {
  for (const int64_t grid_side : {1, 2, 16, 48}) {
    for (int64_t size = 2; size < 130; size += 2) {
      const ImageGrid grid{1, size, 2};
      const auto positions = ComputeVisionPositions({&grid, 1}, 2, grid_side).value();
      for (size_t i = 0; i < positions.rows.size(); ++i) {
        float sum = 0.0f;
        for (size_t tap = i * kTapsPerPatch; tap < (i + 1) * kTapsPerPatch; ++tap) {
          EXPECT_GE(positions.tap_indices[tap], 0);
          EXPECT_LT(positions.tap_indices[tap], grid_side * grid_side);
          EXPECT_GE(positions.tap_weights[tap], 0.0f);
          sum += positions.tap_weights[tap];
        }
        EXPECT_NEAR(sum, 1.0f, 1e-6f);
      }
    }
  }
}

TEST(ComputeVisionPositions, AGridThatBlocksDoNotTileIsRefused) {
  for (const ImageGrid grid : {ImageGrid{1, 3, 4}, ImageGrid{1, 4, 5}, ImageGrid{1, 0, 4}}) {
    const auto positions = ComputeVisionPositions({&grid, 1}, 2, 16);
    ASSERT_FALSE(positions);
    EXPECT_EQ(positions.error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace expertile
