#include "model/mrope_positions.h"

#include <gtest/gtest.h>

#include <string>

#include "model/vision_position_goldens.h"

namespace expertile {
namespace {

TEST(ComputeMropePositions, EqualsTransformers) {
  const auto goldens = VisionPositionGoldens();
  ASSERT_FALSE(goldens["prompts"].empty());
  for (const auto& golden : goldens["prompts"]) {
    SCOPED_TRACE(golden["grids"].dump());
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    const ImagePromptSpec spec{.image_token_id = goldens["image_token"],
                               .merge_size = golden["merge_size"]};
    const auto computed = ComputeMropePositions(ids, GridsOf(golden), spec);
    ASSERT_TRUE(computed) << computed.error().message;
    std::vector<int32_t> expected;
    for (const auto& axis : golden["positions"]) {
      expected.insert(expected.end(), axis.begin(), axis.end());
    }
    EXPECT_EQ(computed->positions, expected);
    EXPECT_EQ(computed->delta, golden["delta"]);
  }
}

constexpr ImagePromptSpec kSpec{.image_token_id = 7, .merge_size = 2};

TEST(ComputeMropePositions, TextAloneCountsUp) {
  const std::vector<int32_t> ids{5, 6, 8};
  const auto computed = ComputeMropePositions(ids, {}, kSpec).value();
  EXPECT_EQ(computed.positions, (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(computed.delta, 0);
  EXPECT_TRUE(ComputeMropePositions({}, {}, kSpec).value().positions.empty());
}

TEST(ComputeMropePositions, NeighbouringImagesAreToldApartByTheirSizes) {
  const std::vector<int32_t> ids{7, 7, 7};
  const ImageGrid grids[] = {{1, 2, 4}, {1, 2, 2}};
  const auto computed = ComputeMropePositions(ids, grids, kSpec).value();
  EXPECT_EQ(computed.positions, (std::vector<int32_t>{0, 0, 2, 0, 0, 2, 0, 1, 2}));
}

TEST(ComputeMropePositions, TokensAndGridsMustAgree) {
  const ImageGrid grid{1, 4, 4};  // 4 tokens
  const std::pair<std::vector<int32_t>, const char*> cases[] = {
      {{1, 7, 7, 7}, "3 tokens at index 1"},
      {{7, 7, 1, 7, 7}, "2 tokens at index 0"},
      {{7, 7, 7, 7, 7}, "image token at index 4"},
      {{1, 2}, "tokens of 0 images, 1 are given"},
  };
  for (const auto& [ids, fact] : cases) {
    const auto computed = ComputeMropePositions(ids, {&grid, 1}, kSpec);
    ASSERT_FALSE(computed) << fact;
    EXPECT_EQ(computed.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(computed.error().message.find(fact), std::string::npos) << computed.error().message;
  }
}

TEST(ExpandImageTokens, WritesOneTokenPerMergedBlock) {
  const std::vector<int32_t> ids{1, 7, 2, 7};
  const ImageGrid grids[] = {{1, 2, 6}, {1, 2, 2}};
  EXPECT_EQ(ExpandImageTokens(ids, grids, kSpec).value(), (std::vector<int32_t>{1, 7, 7, 7, 2, 7}));
  EXPECT_FALSE(ExpandImageTokens(ids, {grids, 1}, kSpec));
  EXPECT_EQ(ExpandImageTokens({ids.data(), 1}, {}, kSpec).value(), std::vector<int32_t>{1});
}

TEST(InterleavedMropeAxes, EqualsTransformers) {
  const auto goldens = VisionPositionGoldens();
  ASSERT_FALSE(goldens["mrope_axes"].empty());
  for (const auto& golden : goldens["mrope_axes"]) {
    const auto expected = golden["axes"].get<std::vector<int32_t>>();
    const auto num_pairs = static_cast<int64_t>(expected.size());
    EXPECT_EQ(InterleavedMropeAxes(golden["sections"], num_pairs), expected);
  }
}

}  // namespace
}  // namespace expertile
