#include "targets/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "tests/sanitized.h"

namespace expertile {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr RouterScore kScores[] = {RouterScore::kSoftmaxThenTopK, RouterScore::kTopKThenSoftmax};

struct Choice {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

Choice Select(std::vector<float> logits, RouterScore score, int K, bool normalize = true) {
  RouterSpec spec;
  spec.score = score;
  spec.normalize = normalize;
  spec.experts_per_token = K;
  Choice choice{std::vector<int32_t>(K, -7), std::vector<float>(K)};
  SelectExperts(logits, spec, choice.ids, choice.weights);
  return choice;
}

using Ids = std::vector<int32_t>;

TEST(RouterTest, OrdinaryLogitsAreTakenInDescendingOrderTiesByLowerId) {
  for (const RouterScore score : kScores) {
    const Choice choice = Select({0.5f, 2.0f, -1.0f, 2.0f, 1.0f}, score, 4);
    EXPECT_EQ(choice.ids, (Ids{1, 3, 4, 0}));
    EXPECT_NEAR(std::accumulate(choice.weights.begin(), choice.weights.end(), 0.0), 1.0, 1e-6);
    EXPECT_EQ(choice.weights[0], choice.weights[1]);
    EXPECT_GT(choice.weights[1], choice.weights[2]);
  }
}

// Softmax gives 0 to all but one of these: the rest tie and go by lower id.
TEST(RouterTest, SoftmaxFirstRanksByItsScores) {
  EXPECT_EQ(Select({-300.0f, -200.0f, 0.0f, -250.0f}, RouterScore::kSoftmaxThenTopK, 3).ids,
            (Ids{2, 0, 1}));
  EXPECT_EQ(Select({-300.0f, -200.0f, 0.0f, -250.0f}, RouterScore::kTopKThenSoftmax, 3).ids,
            (Ids{2, 1, 3}));
}

TEST(RouterTest, NanRanksBelowEveryNumberAndByLowerId) {
  for (const RouterScore score : kScores) {
    EXPECT_EQ(Select({kNaN, 1.0f, 2.0f}, score, 2).ids, (Ids{2, 1}));
    EXPECT_EQ(Select({1.0f, kNaN, -kInfinity}, score, 3).ids, (Ids{0, 2, 1}));
    EXPECT_EQ(Select({kNaN, 3.0f, kNaN, kNaN}, score, 4).ids, (Ids{1, 0, 2, 3}));
    EXPECT_EQ(Select({-kNaN, kNaN, -kNaN}, score, 2).ids, (Ids{0, 1}));
    EXPECT_EQ(Select({kNaN, kInfinity, kNaN, kInfinity}, score, 3).ids, (Ids{1, 3, 0}));
  }
}

TEST(RouterTest, InfinitiesRankAsNumbers) {
  for (const RouterScore score : kScores) {
    EXPECT_EQ(Select({0.0f, kInfinity, 7.0f, kInfinity}, score, 3).ids, (Ids{1, 3, 2}));
    EXPECT_EQ(Select({-kInfinity, -kInfinity, -kInfinity}, score, 3).ids, (Ids{0, 1, 2}));
    EXPECT_EQ(Select({kInfinity, kInfinity, kInfinity}, score, 2).ids, (Ids{0, 1}));
    EXPECT_EQ(Select({-kInfinity, -5.0f, -kInfinity}, score, 2).ids, (Ids{1, 0}));
  }
}

TEST(RouterTest, LogitsWithoutSoftmaxHaveWeightsNaN) {
  for (const RouterScore score : kScores) {
    for (const bool normalize : {false, true}) {
      for (const std::vector<float>& logits : {std::vector<float>{kNaN, 1.0f, 2.0f},
                                               {1.0f, kInfinity, 2.0f},
                                               {2.0f, 1.0f, kNaN},
                                               {-kInfinity, -kInfinity, -kInfinity}}) {
        for (const float weight : Select(logits, score, 2, normalize).weights) {
          EXPECT_TRUE(std::isnan(weight));
        }
      }
      // One expert that is shut out is an ordinary row.
      const Choice choice = Select({-kInfinity, 1.0f, 1.0f}, score, 2, normalize);
      EXPECT_EQ(choice.ids, (Ids{1, 2}));
      EXPECT_EQ(choice.weights, (std::vector<float>{0.5f, 0.5f}));
    }
  }
}

// The definition, by sorting: NaN last, numbers descending, then by id.
Ids SortedIds(const std::vector<float>& scores, int K) {
  Ids ids(scores.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::ranges::stable_sort(ids, [&](int32_t a, int32_t b) {
    return scores[a] > scores[b] || (std::isnan(scores[b]) && !std::isnan(scores[a]));
  });
  ids.resize(K);
  return ids;
}

TEST(RouterTest, AnyLogitsGiveKDistinctExpertsInOrder) {
  std::mt19937 random(11);
  const std::vector<float> special = {kNaN, -kNaN, kInfinity, -kInfinity, 0.0f,  -0.0f,
                                      1.0f, 1.0f,  3.4e38f,   -3.4e38f,   1e-45f};
  const int num_rounds = kIsSanitized ? 2000 : 20000;
  for (int round = 0; round < num_rounds; ++round) {
    const int E = 1 + static_cast<int>(random() % 40);
    const int K = 1 + static_cast<int>(random() % E);
    std::vector<float> logits(E);
    for (float& logit : logits) {
      logit = random() % 3 == 0 ? special[random() % special.size()]
                                : static_cast<float>(random() % 1000) / 100.0f - 5.0f;
    }
    for (const RouterScore score : kScores) {
      const Choice choice = Select(logits, score, K);
      const std::set<int32_t> distinct(choice.ids.begin(), choice.ids.end());
      ASSERT_EQ(distinct.size(), choice.ids.size());
      ASSERT_GE(*distinct.begin(), 0);
      ASSERT_LT(*distinct.rbegin(), E);
      if (score == RouterScore::kTopKThenSoftmax || std::isnan(choice.weights[0])) {
        ASSERT_EQ(choice.ids, SortedIds(logits, K));
      }
    }
  }
}

}  // namespace
}  // namespace expertile
