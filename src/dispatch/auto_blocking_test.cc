// What auto stands for: a blocking of every shape, and one that the work list's cost model does not
// better by more than 3 %.
#include "dispatch/auto_blocking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "dispatch/work_list.h"

namespace expertile {
namespace {

TEST(AutoBlocking, IsABlockingOfTheLayer) {
  for (const int num_experts : {1, 3, 32, 128, 1000}) {
    for (const int num_workers : {1, 2, 16, 96, 1024, 65536}) {
      for (const int64_t num_tokens : {1, 9, 512, 16384}) {
        const AutoBlocking chosen = ChooseBlocking({num_experts, 1, num_tokens, num_workers});
        EXPECT_GE(chosen.num_nsp, 1);
        EXPECT_LE(chosen.num_nsp, num_experts);
        EXPECT_GE(chosen.packed_chunk_size, 1);
      }
    }
  }
}

TEST(AutoBlocking, SharesAQueueAmongSixteenWorkers) {
  for (const int num_workers : {1, 2, 16}) {
    EXPECT_EQ(ChooseBlocking({128, 8, 512, num_workers}).num_nsp, 1);
  }
  EXPECT_EQ(ChooseBlocking({128, 8, 512, 17}).num_nsp, 2);
  EXPECT_EQ(ChooseBlocking({128, 8, 512, 96}).num_nsp, 6);
}

TEST(AutoBlocking, HasLongerChunksForLongExperts) {
  EXPECT_EQ(ChooseBlocking({128, 8, 4096, 2}).packed_chunk_size, 256);
  EXPECT_EQ(ChooseBlocking({128, 8, 4097, 2}).packed_chunk_size, 512);
}

// A layer that is routed at random by a Zipf law.
struct Layer {
  int num_experts;
  int experts_per_token;
  int64_t num_tokens;
  double skew;
};

MatchedIndex Routed(const Layer& layer) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(1e-12, 1.0);
  const auto E = static_cast<size_t>(layer.num_experts);
  std::vector<double> key(E);
  std::vector<int32_t> order(E);
  std::iota(order.begin(), order.end(), 0);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < layer.num_tokens; ++t) {
    for (size_t e = 0; e < E; ++e) {
      // Experts' ranks are spread over the NSPs: 37 is prime to every E below.
      const auto rank = static_cast<double>(e * 37 % E + 1);
      key[e] = -layer.skew * std::log(rank) - std::log(-std::log(uniform(random)));
    }
    std::partial_sort(order.begin(), order.begin() + layer.experts_per_token, order.end(),
                      [&](int32_t a, int32_t b) { return key[a] > key[b]; });
    ids.insert(ids.end(), order.begin(), order.begin() + layer.experts_per_token);
  }
  MatchedIndex matched;
  BuildMatchedIndex({layer.num_tokens, layer.experts_per_token, ids}, layer.num_experts, matched);
  return matched;
}

int64_t PredictedEnd(const MatchedIndex& matched, int num_experts, const AutoBlocking& blocking,
                     int num_workers) {
  WorkList list;
  BuildWorkList(matched, Placement::Create(num_experts, blocking.num_nsp).value(),
                {num_workers, blocking.packed_chunk_size, 12, 48, 2048}, list);
  std::vector<int64_t> busy(static_cast<size_t>(num_workers));
  PlayWorkList(list, busy);
  return *std::ranges::max_element(busy);
}

TEST(AutoBlocking, IsNearTheBestOnPaper) {
  for (const Layer& layer :
       {Layer{128, 8, 512, 0.0}, Layer{128, 8, 512, 1.2}, Layer{32, 4, 512, 0.0},
        Layer{32, 4, 2048, 0.0}, Layer{40, 8, 512, 1.2}, Layer{40, 8, 2048, 0.0}}) {
    const MatchedIndex matched = Routed(layer);
    for (const int num_workers : {1, 2, 16}) {
      const AutoBlocking chosen = ChooseBlocking(
          {layer.num_experts, layer.experts_per_token, layer.num_tokens, num_workers});
      const int64_t of_auto = PredictedEnd(matched, layer.num_experts, chosen, num_workers);
      for (const int num_nsp : {1, 2, 4, 8, 16, 32}) {
        const AutoBlocking other{num_nsp, chosen.packed_chunk_size};
        EXPECT_LE(of_auto * 100, PredictedEnd(matched, layer.num_experts, other, num_workers) * 103)
            << "E=" << layer.num_experts << " T=" << layer.num_tokens << " skew=" << layer.skew
            << " workers=" << num_workers << " N=" << num_nsp;
      }
    }
  }
}

}  // namespace
}  // namespace expertile
