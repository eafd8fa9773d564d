#include <gtest/gtest.h>

#include <numeric>

#include "expertile/dispatch.h"

namespace expertile {
namespace {

// Four tokens of K = 2 on E = 5 experts; the third is padding.
const std::vector<int32_t> kIds = {0, 3, 3, 4, -1, -1, 3, 0};
const Routing kRouting{kIds, 2, 5};

TEST(PublicDispatch, PlacesExpertsWhereTheTableSays) {
  const auto placed = PlaceExperts(5, 2).value();
  EXPECT_EQ(placed.nsp, (std::vector<int32_t>{0, 1, 0, 1, 0}));
  EXPECT_EQ(placed.slot, (std::vector<int32_t>{0, 0, 1, 1, 2}));
  EXPECT_EQ(placed.table, (std::vector<int32_t>{0, 2, 4, 1, 3, -1}));
  EXPECT_FALSE(PlaceExperts(5, 6));
  EXPECT_FALSE(PlaceExperts(5, 0));
}

TEST(PublicDispatch, MatchesAssignmentsInTokenOrder) {
  const auto matched = MatchAssignments(kRouting).value();
  EXPECT_EQ(matched.offsets, (std::vector<int32_t>{0, 2, 2, 2, 5, 6}));
  EXPECT_EQ(matched.assignments, (std::vector<int32_t>{0, 7, 1, 2, 6, 3}));
}

TEST(PublicDispatch, PlansChunksOfAtMostP) {
  const auto planned = PlanChunks(kRouting, 2, 2).value();
  EXPECT_EQ(planned.nsp_offsets, (std::vector<int32_t>{0, 2, 4}));
  std::vector<std::vector<int32_t>> rows;
  for (const PlannedChunk& c : planned.chunks) rows.push_back({c.expert, c.nsp, c.begin, c.end});
  EXPECT_EQ(rows, (std::vector<std::vector<int32_t>>{
                      {0, 0, 0, 2}, {4, 0, 5, 6}, {3, 1, 2, 4}, {3, 1, 4, 5}}));
}

TEST(PublicDispatch, TellsHowEvenlyWorkLies) {
  const auto balance = BalanceOf(kRouting, 2, 2, 1).value();
  EXPECT_EQ(balance.nsp_rows, (std::vector<int64_t>{3, 3}));
  EXPECT_EQ(balance.num_chunks, 4);
  EXPECT_DOUBLE_EQ(balance.nsp_imbalance, 1.0);
  EXPECT_DOUBLE_EQ(balance.worker_imbalance, 1.0);  // one worker does it all
  // Five NSPs: experts 0, 3 and 4 have 2, 3 and 1 rows of a mean of 6/5.
  EXPECT_DOUBLE_EQ(BalanceOf(kRouting, 5, 2, 1).value().nsp_imbalance, 3.0 / (6.0 / 5.0));
}

TEST(PublicDispatch, RefusesWhatIsNoRouting) {
  const std::vector<int32_t> beyond = {0, 5};
  const std::vector<int32_t> half_padded = {0, -1};
  EXPECT_FALSE(MatchAssignments({beyond, 2, 5}));
  EXPECT_FALSE(MatchAssignments({half_padded, 2, 5}));
  EXPECT_FALSE(MatchAssignments({beyond, 0, 9}));
  EXPECT_FALSE(MatchAssignments({kIds, 3, 5}));
  EXPECT_FALSE(PlanChunks(kRouting, 2, 0));
  EXPECT_FALSE(BalanceOf(kRouting, 2, 1, 0));
}

}  // namespace
}  // namespace expertile
