// WorkList: it holds all of the work once, in an order that can be claimed, and its shares are
// even.
#include "dispatch/work_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace expertile {
namespace {

using Stage = WorkPiece::Stage;

struct Layer {
  std::string name;
  int num_experts;                  // E
  int experts_per_token;            // K
  std::vector<int32_t> expert_ids;  // [T,K]

  int64_t num_tokens() const { return static_cast<int64_t>(expert_ids.size()) / experts_per_token; }
  MatchedIndex Match() const {
    MatchedIndex matched;
    BuildMatchedIndex({num_tokens(), experts_per_token, expert_ids}, num_experts, matched);
    return matched;
  }
};

// K different experts a token, their popularity by a Zipf law, which are popular being random.
Layer Zipf(int num_experts, int experts_per_token, int64_t num_tokens, double skew) {
  std::mt19937 random(11);
  std::vector<int32_t> rank(num_experts);
  std::iota(rank.begin(), rank.end(), 1);
  std::shuffle(rank.begin(), rank.end(), random);
  std::uniform_real_distribution<double> uniform(1e-9, 1.0);
  Layer layer{"Zipf " + std::to_string(skew), num_experts, experts_per_token, {}};
  for (int64_t t = 0; t < num_tokens; ++t) {
    std::vector<std::pair<double, int32_t>> keys;
    for (int e = 0; e < num_experts; ++e) {
      keys.emplace_back(-skew * std::log(rank[e]) - std::log(-std::log(uniform(random))), e);
    }
    std::partial_sort(keys.begin(), keys.begin() + experts_per_token, keys.end(), std::greater<>());
    for (int k = 0; k < experts_per_token; ++k) layer.expert_ids.push_back(keys[k].second);
  }
  return layer;
}

Layer AllOnOneExpert(int num_experts, int64_t num_tokens) {
  return {"one expert", num_experts, 1, std::vector<int32_t>(num_tokens, num_experts / 2)};
}

// Every token on experts that lie on NSP 0 of N, whatever N divides E / K.
Layer AllOnOneNsp(int num_experts, int experts_per_token, int64_t num_tokens) {
  Layer layer{"one NSP", num_experts, experts_per_token, {}};
  for (int64_t a = 0; a < num_tokens * experts_per_token; ++a) {
    layer.expert_ids.push_back(
        static_cast<int32_t>(a % experts_per_token * (num_experts / experts_per_token)));
  }
  return layer;
}

// Weights that cost as much as 8 rows: vectors; as 64: AMX tiles, which are so much faster.
WorkShape ShapeFor(int num_workers, int64_t weights_rows = 8) {
  return {num_workers, 256, {14, 48, weights_rows == 8 ? 2048 : 8192, weights_rows}};
}

// Each row of each expert whole once, or by all parts of its gate-up and down columns, each once.
void CheckWork(const Layer& layer, const Placement& placement, const WorkShape& shape,
               const WorkList& list) {
  const MatchedIndex matched = layer.Match();
  std::vector<int> whole(matched.assignments.size(), 0);
  std::map<std::pair<int32_t, Stage>, std::vector<WorkPiece>> groups;
  ASSERT_EQ(list.num_nsp(), placement.num_nsp());
  for (int nsp = 0; nsp < list.num_nsp(); ++nsp) {
    for (int32_t i = 0; i < list.NumPieces(nsp); ++i) {
      const WorkPiece& piece = list.Piece(nsp, i);
      ASSERT_EQ(piece.nsp, nsp);
      ASSERT_EQ(placement.NspOf(piece.expert), nsp);
      ASSERT_LT(piece.begin, piece.end);
      ASSERT_LE(piece.end - piece.begin, shape.max_rows);
      ASSERT_GE(piece.begin, matched.offsets[piece.expert]);
      ASSERT_LE(piece.end, matched.offsets[piece.expert + 1]);
      ASSERT_GT(piece.cost, 0);
      ASSERT_EQ(list.Remaining(nsp, i), piece.cost + list.Remaining(nsp, i + 1));
      if (i > 0) {
        const WorkPiece& before = list.Piece(nsp, i - 1);
        ASSERT_LE(before.stage, piece.stage);
        if (before.stage == piece.stage) {
          ASSERT_GE(before.cost, piece.cost);
        }
      }
      if (piece.stage != Stage::kWhole) {
        groups[{piece.group, piece.stage}].push_back(piece);
        continue;
      }
      for (int32_t row = piece.begin; row < piece.end; ++row) ++whole[row];
    }
    ASSERT_EQ(list.Remaining(nsp, list.NumPieces(nsp) + 5), 0);
  }
  std::set<int32_t> group_rows;
  ASSERT_EQ(groups.size(), 2 * list.group_parts.size());
  for (const auto& [key, parts] : groups) {
    ASSERT_EQ(static_cast<int32_t>(parts.size()), parts[0].num_parts);
    ASSERT_LE(parts[0].num_parts, shape.cut.max_parts);
    if (key.second == Stage::kGateUp) {
      ASSERT_EQ(list.group_parts[key.first], parts[0].num_parts);
    }
    const WorkPiece& other = groups.at({key.first, Stage::kGateUp})[0];
    std::vector<bool> seen(parts.size());
    for (const WorkPiece& part : parts) {
      ASSERT_EQ(std::tie(part.begin, part.end, part.expert, part.nsp),
                std::tie(other.begin, other.end, other.expert, other.nsp));
      ASSERT_FALSE(seen[part.part]);
      seen[part.part] = true;
    }
    if (key.second == Stage::kDown) continue;
    for (int32_t row = other.begin; row < other.end; ++row) {
      ++whole[row];
      group_rows.insert(other.group_begin + row - other.begin);
    }
  }
  ASSERT_EQ(static_cast<int32_t>(group_rows.size()), list.num_group_rows);  // none is two groups'
  ASSERT_LE(list.num_group_rows, shape.cut.max_group_rows);
  ASSERT_EQ(whole, std::vector<int>(whole.size(), 1));
}

double Imbalance(const WorkList& list, int num_workers) {
  std::vector<PlayedWork> workers(num_workers);
  PlayWorkList(list, workers);
  const int64_t latest = std::ranges::max_element(workers, {}, &PlayedWork::cost)->cost;
  return static_cast<double>(latest) * num_workers / static_cast<double>(list.TotalCost());
}

std::vector<Layer> Layers(int64_t num_tokens) {
  return {Zipf(128, 8, num_tokens, 0.0),  Zipf(128, 8, num_tokens, 1.2),
          Zipf(128, 8, num_tokens, 3.0),  Zipf(32, 4, num_tokens, 1.2),
          Zipf(40, 8, num_tokens, 0.6),   AllOnOneExpert(128, num_tokens),
          AllOnOneNsp(128, 4, num_tokens)};
}

TEST(WorkList, HoldsAllOfTheWorkOnceAndSharesItEvenly) {
  for (const int64_t num_tokens : {9, 64, 300, 512, 2048}) {
    for (const Layer& layer : Layers(num_tokens)) {
      const MatchedIndex matched = layer.Match();
      for (const int num_workers : {1, 2, 3, 4, 16}) {
        for (const int num_nsp : {1, 3, num_workers, 2 * num_workers, layer.num_experts}) {
          SCOPED_TRACE(layer.name + ", E " + std::to_string(layer.num_experts) + ", T " +
                       std::to_string(num_tokens) + ", N " + std::to_string(num_nsp) + ", W " +
                       std::to_string(num_workers));
          const Placement placement = Placement::Create(layer.num_experts, num_nsp).value();
          for (const int64_t weights_rows : {8, 64}) {
            const WorkShape shape = ShapeFor(num_workers, weights_rows);
            WorkList list;
            BuildWorkList(matched, placement, shape, list);
            CheckWork(layer, placement, shape, list);
            if (testing::Test::HasFatalFailure()) return;
            EXPECT_LT(Imbalance(list, num_workers), 1.1) << weights_rows;
          }
        }
      }
    }
  }
}

TEST(WorkList, KeepsToItsLimits) {
  for (const Layer& layer : Layers(40)) {
    for (const int64_t max_rows : {int64_t{1}, int64_t{7}, int64_t{15}, INT64_MAX}) {
      for (const int64_t max_group_rows : {0, 1000}) {
        for (const int64_t max_parts : {1, 3}) {
          const WorkShape shape = {4, max_rows, {6, max_parts, max_group_rows, 8}};
          const Placement placement = Placement::Create(layer.num_experts, 5).value();
          WorkList list;
          BuildWorkList(layer.Match(), placement, shape, list);
          CheckWork(layer, placement, shape, list);
          if (testing::Test::HasFatalFailure()) return;
          if (max_group_rows == 0) {
            EXPECT_TRUE(list.group_parts.empty());
          }
        }
      }
    }
  }
}

TEST(WorkList, OneWorkerIsGivenNoCutsButTheChunks) {
  const Layer layer = AllOnOneExpert(4, 500);
  WorkList list;
  BuildWorkList(layer.Match(), Placement::Create(4, 2).value(), ShapeFor(1), list);
  ASSERT_EQ(list.pieces.size(), 2u);
  EXPECT_EQ(list.pieces[0].end - list.pieces[0].begin, 252);  // even, on tiles of 14
}

TEST(WorkList, NoRowsAreNoPieces) {
  const Layer layer{"padding", 4, 2, std::vector<int32_t>(20, kNoExpert)};
  WorkList list;
  BuildWorkList(layer.Match(), Placement::Create(4, 3).value(), ShapeFor(4), list);
  EXPECT_TRUE(list.pieces.empty());
  EXPECT_EQ(list.num_nsp(), 3);
  EXPECT_EQ(ChooseNsp(list, 0, 4, [](int) { return 0; }), -1);
}

TEST(WorkList, AnExpertsOwnerIsAWorkerOfItsNsp) {
  constexpr int kExperts = 96;
  for (const int num_nsp : {0, 1, 3, 4, 8, 96}) {
    for (const int num_workers : {1, 2, 3, 8, 16}) {
      std::vector<int> owned(num_workers, 0);
      for (int expert = 0; expert < kExperts; ++expert) {
        const int owner = OwnWorker(expert, num_nsp, num_workers);
        ASSERT_TRUE(0 <= owner && owner < num_workers);
        if (num_nsp > 0) {
          EXPECT_TRUE(IsOwnNsp(expert % num_nsp, owner, num_nsp, num_workers));
        }
        ++owned[owner];
      }
      EXPECT_GT(*std::ranges::min_element(owned), 0) << num_nsp << " " << num_workers;
    }
  }
}

TEST(WorkList, OwnPiecesFirstThenTheMostLoadeds) {
  // N = 4 NSPs with 10, 40, 20 and 30 rows on their only expert.
  Layer layer{"", 4, 1, {}};
  for (const auto& [expert, rows] : {std::pair(0, 10), {1, 40}, {2, 20}, {3, 30}}) {
    layer.expert_ids.insert(layer.expert_ids.end(), rows, expert);
  }
  WorkList list;
  BuildWorkList(layer.Match(), Placement::Create(4, 4).value(), {1, 10, {10, 1, 0, 8}}, list);
  std::vector<int32_t> claimed(4, 0);
  const auto choose = [&](int worker, int num_workers) {
    return ChooseNsp(list, worker, num_workers, [&](int nsp) { return claimed[nsp]; });
  };
  EXPECT_EQ(choose(0, 4), 0);  // as many workers as NSPs: its own
  EXPECT_EQ(choose(2, 4), 2);
  EXPECT_EQ(choose(0, 2), 2);  // fewer: the more loaded of its own 0 and 2
  EXPECT_EQ(choose(7, 8), 3);  // more: 3 and 7 share NSP 3
  claimed = {1, 2, 1, 3};      // 0, 20, 10 and 0 rows are left
  EXPECT_EQ(choose(0, 4), 1);
  EXPECT_EQ(choose(2, 4), 2);
  EXPECT_EQ(choose(3, 4), 1);
  claimed = {9, 4, 2, 3};
  EXPECT_EQ(choose(1, 4), -1);
}

}  // namespace
}  // namespace expertile
