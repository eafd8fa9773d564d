// dispatch/ against its definitions, written out plainly: every routing of small sizes, random ones
// of larger.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "dispatch/chunk_plan.h"
#include "dispatch/matched_index.h"
#include "dispatch/placement.h"
#include "dispatch/routing_table.h"

namespace expertile {
namespace {

struct Routing {
  int num_experts;                  // E
  int experts_per_token;            // K
  std::vector<int32_t> expert_ids;  // [T,K]

  int64_t num_tokens() const { return static_cast<int64_t>(expert_ids.size()) / experts_per_token; }
  RoutingTable table() const { return {num_tokens(), experts_per_token, expert_ids}; }
};

// The definition: the assignments of an expert are those that name it, in order.
std::vector<int32_t> AssignmentsOf(const Routing& routing, int expert) {
  std::vector<int32_t> assignments;
  for (size_t a = 0; a < routing.expert_ids.size(); ++a) {
    if (routing.expert_ids[a] == expert) assignments.push_back(static_cast<int32_t>(a));
  }
  return assignments;
}

// Walks a plan and holds it to everything that DESIGN 2 and 4.2 promise.
void CheckPlan(const Routing& routing, int num_nsp, int64_t P) {
  const Placement placement = Placement::Create(routing.num_experts, num_nsp).value();
  MatchedIndex matched;
  BuildMatchedIndex(routing.table(), routing.num_experts, matched);
  for (int e = 0; e < routing.num_experts; ++e) {
    const auto of = matched.Of(e);
    ASSERT_EQ(std::vector<int32_t>(of.begin(), of.end()), AssignmentsOf(routing, e)) << e;
  }
  ChunkPlan plan;
  BuildChunkPlan(matched, placement, P, plan);
  ASSERT_EQ(plan.nsp_offsets.size(), static_cast<size_t>(num_nsp) + 1);
  ASSERT_EQ(plan.nsp_offsets.back(), static_cast<int32_t>(plan.chunks.size()));
  std::multiset<int32_t> done;
  for (int n = 0; n < num_nsp; ++n) {
    int last_slot = -1;
    for (int c = plan.nsp_offsets[n]; c < plan.nsp_offsets[n + 1]; ++c) {
      const Chunk& chunk = plan.chunks[c];
      ASSERT_EQ(chunk.nsp, n);
      ASSERT_EQ(chunk.expert % num_nsp, n);
      ASSERT_EQ(chunk.slot, chunk.expert / num_nsp);
      ASSERT_EQ(placement.ExpertAt(n, chunk.slot), chunk.expert);
      ASSERT_LT(chunk.begin, chunk.end);
      ASSERT_LE(chunk.end - chunk.begin, P);
      const bool continues = c > plan.nsp_offsets[n] && plan.chunks[c - 1].expert == chunk.expert;
      if (continues) {  // only a full chunk has a successor
        ASSERT_EQ(chunk.begin, plan.chunks[c - 1].end);
        ASSERT_EQ(plan.chunks[c - 1].end - plan.chunks[c - 1].begin, P);
      } else {
        ASSERT_GT(chunk.slot, last_slot);
        ASSERT_EQ(chunk.begin, matched.offsets[chunk.expert]);
      }
      last_slot = chunk.slot;
      for (int row = chunk.begin; row < chunk.end; ++row) {
        ASSERT_EQ(routing.expert_ids[matched.assignments[row]], chunk.expert);
        done.insert(matched.assignments[row]);
      }
    }
  }
  std::multiset<int32_t> wanted;  // every assignment that is not padding, once
  for (size_t a = 0; a < routing.expert_ids.size(); ++a) {
    if (routing.expert_ids[a] != kNoExpert) wanted.insert(static_cast<int32_t>(a));
  }
  ASSERT_EQ(done, wanted);
}

// All ordered choices of K different experts out of E, and a padded row.
std::vector<std::vector<int32_t>> AllRows(int E, int K) {
  std::vector<std::vector<int32_t>> rows = {std::vector<int32_t>(K, kNoExpert)};
  std::vector<int32_t> row(K);
  const auto extend = [&](auto&& self, int k) -> void {
    if (k == K) return rows.push_back(row);
    for (int e = 0; e < E; ++e) {
      if (std::find(row.begin(), row.begin() + k, e) != row.begin() + k) continue;
      row[k] = e;
      self(self, k + 1);
    }
  };
  extend(extend, 0);
  return rows;
}

TEST(Dispatch, EveryRoutingOfSmallSizes) {
  for (int E = 1; E <= 3; ++E) {
    for (int K = 1; K <= std::min(E, 2); ++K) {
      const auto rows = AllRows(E, K);
      for (int T = 0; T <= 3; ++T) {
        const auto num_routings = static_cast<int64_t>(std::pow(rows.size(), T));
        for (int64_t code = 0; code < num_routings; ++code) {
          Routing routing{E, K, {}};
          for (int64_t t = 0, rest = code; t < T; ++t, rest /= static_cast<int64_t>(rows.size())) {
            const auto& row = rows[rest % static_cast<int64_t>(rows.size())];
            routing.expert_ids.insert(routing.expert_ids.end(), row.begin(), row.end());
          }
          ASSERT_TRUE(CheckRoutingTable(routing.table(), E));
          for (int N = 1; N <= E; ++N) {
            for (const int64_t P : {int64_t{1}, int64_t{2}, int64_t{T} + 3, INT64_MAX}) {
              CheckPlan(routing, N, P);
              if (testing::Test::HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

// Expert popularity by a Zipf law; every seventh row padded if `padded`.
Routing RandomRouting(int E, int K, int64_t T, double skew, bool padded, std::mt19937& random) {
  Routing routing{E, K, {}};
  std::uniform_real_distribution<double> uniform(1e-9, 1.0);
  for (int64_t t = 0; t < T; ++t) {
    if (padded && t % 7 == 3) {
      routing.expert_ids.insert(routing.expert_ids.end(), K, kNoExpert);
      continue;
    }
    std::vector<std::pair<double, int32_t>> keys;
    for (int e = 0; e < E; ++e) {
      keys.emplace_back(-skew * std::log(e + 1.0) - std::log(-std::log(uniform(random))), e);
    }
    std::partial_sort(keys.begin(), keys.begin() + K, keys.end(), std::greater<>());
    for (int k = 0; k < K; ++k) routing.expert_ids.push_back(keys[k].second);
  }
  return routing;
}

TEST(Dispatch, RandomRoutings) {
  std::mt19937 random(7);
  for (const auto& [E, K] :
       {std::pair(128, 8), std::pair(40, 8), std::pair(32, 4), std::pair(5, 5)}) {
    for (const int64_t T : {1, 2, 33, 300}) {
      for (const double skew : {0.0, 1.2, 6.0}) {
        const Routing routing = RandomRouting(E, K, T, skew, /*padded=*/T > 2, random);
        for (const int N : {1, 2, 3, E / 2 + 1, E}) {
          for (const int64_t P : {int64_t{1}, int64_t{7}, int64_t{64}, T + 1}) {
            CheckPlan(routing, std::min(N, E), P);
            if (testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(Dispatch, AllTokensOnOneExpert) {
  Routing routing{8, 1, std::vector<int32_t>(500, 5)};
  for (int N = 1; N <= 8; ++N) {
    for (const int64_t P : {1, 256, 499, 500, 501}) CheckPlan(routing, N, P);
  }
}

TEST(Dispatch, StorageIsUsedAgainWithoutTraces) {
  MatchedIndex matched;
  ChunkPlan plan;
  const Routing large{4, 2, {0, 1, 2, 3, 0, 3, 1, 2}};
  BuildMatchedIndex(large.table(), 4, matched);
  BuildChunkPlan(matched, Placement::Create(4, 2).value(), 1, plan);
  const Routing small{2, 1, {1}};
  BuildMatchedIndex(small.table(), 2, matched);
  BuildChunkPlan(matched, Placement::Create(2, 1).value(), 1, plan);
  EXPECT_EQ(matched.offsets, (std::vector<int32_t>{0, 0, 1}));
  EXPECT_EQ(matched.assignments, (std::vector<int32_t>{0}));
  ASSERT_EQ(plan.chunks.size(), 1u);
  EXPECT_EQ(plan.nsp_offsets, (std::vector<int32_t>{0, 1}));
}

TEST(Placement, EveryExpertHasOnePlace) {
  for (int E = 1; E <= 40; ++E) {
    for (int N = 1; N <= E; ++N) {
      const Placement placement = Placement::Create(E, N).value();
      EXPECT_EQ(placement.local_experts(), (E + N - 1) / N);
      std::vector<int> seen(E, 0);
      for (int n = 0; n < N; ++n) {
        for (int slot = 0; slot < placement.local_experts(); ++slot) {
          const int expert = placement.ExpertAt(n, slot);
          if (expert == kNoExpert) continue;
          EXPECT_EQ(placement.NspOf(expert), n);
          EXPECT_EQ(placement.SlotOf(expert), slot);
          EXPECT_EQ(placement.PlaceOf(expert), slot * N + n);
          ++seen[expert];
        }
      }
      EXPECT_EQ(seen, std::vector<int>(E, 1));
    }
  }
}

TEST(Placement, RefusesNspsThatWouldBeEmpty) {
  for (const int N : {-1, 0, 33}) {
    const auto placement = Placement::Create(32, N);
    ASSERT_FALSE(placement);
    EXPECT_EQ(placement.error().message, "moe_prefill_num_nsp: " + std::to_string(N) +
                                             ", expected 1 to 32 (the number of experts)");
  }
}

TEST(RoutingTable, RefusesWhatIsNoRouting) {
  const auto error = [](const Routing& routing) {
    const Status status = CheckRoutingTable(routing.table(), routing.num_experts);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(error({4, 2, {0, 3, -1, -1}}), "");
  EXPECT_EQ(error({4, 2, {0, 4}}), "routing table: token 0: expert 4, expected 0 to 3");
  EXPECT_EQ(error({4, 2, {0, 1, 2, -2}}), "routing table: token 1: expert -2, expected 0 to 3");
  EXPECT_EQ(error({4, 2, {0, 1, 2, 2}}), "");  // of a router's NaN: two assignments
  EXPECT_EQ(error({4, 2, {0, -1}}),
            "routing table: token 0: 1 of 2 experts are padding, expected none or all");
  EXPECT_FALSE(CheckRoutingTable({3, 2, std::vector<int32_t>{0, 1}}, 4));
  EXPECT_FALSE(CheckRoutingTable({int64_t{1} << 31, 1, {}}, 4));
}

TEST(ChunkPlan, StaticChunksRoundUp) {
  EXPECT_EQ(NumStaticChunks(0, 4), 0);
  EXPECT_EQ(NumStaticChunks(8, 4), 2);
  EXPECT_EQ(NumStaticChunks(9, 4), 3);
  EXPECT_EQ(NumStaticChunks(9, INT64_MAX), 1);
}

}  // namespace
}  // namespace expertile
