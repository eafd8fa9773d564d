#include "targets/cuda/kernels/tile_shape.h"

#include <gtest/gtest.h>

namespace expertile::cuda {
namespace {

constexpr int kH100 = 132;  // multiprocessors

TEST(TileShape, LargeForManyRows) {
  EXPECT_EQ(ChooseTileShape(8192, 1, 5120, kH100), (TileShape{128, 256}));
  EXPECT_EQ(ChooseTileShape(65536, 128, 1536, kH100), (TileShape{128, 256}));
}

TEST(TileShape, NarrowWhereWideTilesLeaveProcessorsIdle) {
  EXPECT_EQ(ChooseTileShape(9, 1, 2048, kH100), (TileShape{64, 32}));
  EXPECT_EQ(ChooseTileShape(512, 1, 128, kH100), (TileShape{64, 32}));  // a router
  EXPECT_EQ(ChooseTileShape(512, 1, 2048, kH100), (TileShape{64, 128}));
}

TEST(TileShape, AWarpsOwnForFewRows) {
  EXPECT_EQ(ChooseTileShape(1, 1, 151936, kH100), kFewRowsTile);
  EXPECT_EQ(ChooseTileShape(8, 1, 2048, kH100), kFewRowsTile);
  EXPECT_EQ(ChooseTileShape(8, 128, 1536, kH100), kFewRowsTile);  // a decoded token's 8 experts
}

TEST(TileShape, RowsFollowThoseOfAnExpert) {
  EXPECT_EQ(ChooseTileShape(512 * 8, 128, 1536, kH100).rows, 64);    // 32 rows each
  EXPECT_EQ(ChooseTileShape(1024 * 8, 128, 1536, kH100).rows, 128);  // 64 rows each, or some more
  EXPECT_EQ(ChooseTileShape(2048 * 8, 128, 1536, kH100).rows, 128);  // 128 rows each
}

// A layer's two products share a list of row tiles.
TEST(TileShape, RowsOfExpertsDoNotDependOnColumns) {
  for (const int64_t rows : {1, 7, 64, 1000, 12289, 100000}) {
    for (const int64_t groups : {2, 32, 128, 1000}) {
      const int expected = ChooseTileShape(rows, groups, 0, kH100).rows;
      for (const int64_t columns : {8, 128, 768, 2048, 5760, 150000}) {
        EXPECT_EQ(ChooseTileShape(rows, groups, columns, kH100).rows, expected);
      }
    }
  }
}

TEST(TileShape, Mxfp4HasMostExpertsRowsInATile) {
  EXPECT_EQ(ChooseMxfp4Shape(8, 32), kFewRowsTile);
  EXPECT_EQ(ChooseMxfp4Shape(65, 32), (TileShape{128, 128}));
  EXPECT_EQ(ChooseMxfp4Shape(512 * 4, 32), (TileShape{128, 128}));   // 64 rows each
  EXPECT_EQ(ChooseMxfp4Shape(1024 * 4, 32), (TileShape{256, 128}));  // 128 rows each
  EXPECT_EQ(ChooseMxfp4Shape(9, 1), (TileShape{128, 128}));
}

// So that a list of tiles is one of few rows whatever the weights are.
TEST(TileShape, FewRowsAreFewOfMxfp4) {
  for (const int64_t rows : {1, 8, 9, 64, 65, 1000}) {
    for (const int64_t groups : {1, 2, 32, 500}) {
      EXPECT_EQ(ChooseMxfp4Shape(rows, groups) == kFewRowsTile,
                ChooseTileShape(rows, groups, 0, kH100) == kFewRowsTile);
    }
  }
}

TEST(TileShape, RowsArePackedForManyColumns) {
  EXPECT_TRUE(PacksRows({128, 256}, false, 32768, 32, 5760, 0));  // gpt-oss-20b at T = 8192
  EXPECT_TRUE(PacksRows({256, 128}, true, 4096, 32, 5760, 256));
  EXPECT_FALSE(PacksRows({128, 256}, false, 8192, 32, 5760, 0));     // reading weights binds
  EXPECT_FALSE(PacksRows({128, 256}, false, 262144, 128, 1536, 0));  // Qwen3-30B-A3B
  EXPECT_FALSE(PacksRows({128, 256}, false, 32768, 32, 5760, 127));  // chunks cut tiles short
  EXPECT_FALSE(PacksRows(kFewRowsTile, true, 4, 32, 5760, 0));
}

}  // namespace
}  // namespace expertile::cuda
