#include "running/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

namespace expertile {
namespace {

using Distribution = std::map<int32_t, double>;  // of the tokens that are left

std::vector<float> RandomLogits(int size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

Distribution Softmax(const std::map<int32_t, double>& scores) {
  double largest = -INFINITY;
  for (const auto& [id, score] : scores) largest = std::max(largest, score);
  double sum = 0.0;
  for (const auto& [id, score] : scores) sum += std::exp(score - largest);
  Distribution probabilities;
  for (const auto& [id, score] : scores) probabilities[id] = std::exp(score - largest) / sum;
  return probabilities;
}

// transformers' processors and warpers, one after the other, as their classes compute them:
// RepetitionPenalty, (the OpenAI API's penalties,) Temperature, TopK, TopP, MinP.
Distribution Oracle(const SamplingOptions& options, const std::vector<float>& logits,
                    const std::vector<int32_t>& prompt, const std::vector<int32_t>& made) {
  std::map<int32_t, double> scores;
  for (size_t id = 0; id < logits.size(); ++id) scores[static_cast<int32_t>(id)] = logits[id];
  std::vector<int32_t> seen = prompt;
  seen.insert(seen.end(), made.begin(), made.end());
  for (auto& [id, score] : scores) {
    if (std::ranges::count(seen, id) > 0) {
      score = score < 0 ? score * options.repetition_penalty : score / options.repetition_penalty;
    }
    const auto count = std::ranges::count(made, id);
    score -= static_cast<double>(count) * options.frequency_penalty;
    score -= (count > 0 ? 1.0 : 0.0) * options.presence_penalty;
    score /= options.temperature;
  }
  if (options.top_k > 0) {
    std::vector<double> sorted;
    for (const auto& [id, score] : scores) sorted.push_back(score);
    std::ranges::sort(sorted, std::greater<>());
    const double kth = sorted[std::min<size_t>(options.top_k, sorted.size()) - 1];
    std::erase_if(scores, [&](const auto& entry) { return entry.second < kth; });
  }
  if (options.top_p < 1.0f) {  // ascending: what adds up to at most 1 - top_p goes
    std::vector<std::pair<double, int32_t>> ascending;
    for (const auto& [id, probability] : Softmax(scores)) ascending.push_back({probability, id});
    std::ranges::sort(ascending);
    double sum = 0.0;
    for (size_t i = 0; i + 1 < ascending.size(); ++i) {
      sum += ascending[i].first;
      if (sum <= 1.0 - options.top_p) scores.erase(ascending[i].second);
    }
  }
  const Distribution probabilities = Softmax(scores);
  double largest = 0.0;
  for (const auto& [id, probability] : probabilities) largest = std::max(largest, probability);
  for (const auto& [id, probability] : probabilities) {
    if (probability < options.min_p * largest) scores.erase(id);
  }
  return Softmax(scores);
}

TEST(Sampler, DrawsFromWhatTransformersWouldDrawFrom) {
  const std::vector<SamplingOptions> cases = {
      {.temperature = 1.0f},
      {.temperature = 0.7f, .top_k = 20, .top_p = 0.8f},
      {.temperature = 0.6f, .top_k = 20, .top_p = 0.95f, .min_p = 0.05f},
      {.temperature = 1.5f, .top_k = 1000},
      {.temperature = 1.0f, .top_p = 0.01f},
      {.temperature = 1.0f, .min_p = 1.0f},
      {.temperature = 2.0f, .top_k = 50, .repetition_penalty = 1.3f},
      {.temperature = 1.0f, .top_k = 9, .repetition_penalty = 0.8f, .presence_penalty = 1.5f},
      {.temperature = 1.0f, .presence_penalty = -2.0f, .frequency_penalty = 0.7f},
  };
  const std::vector<int32_t> prompt = {3, 5, 7, 7, 99, 500};
  for (size_t i = 0; i < cases.size(); ++i) {
    SamplingOptions greedy_once = cases[i];
    Sampler sampler(greedy_once, 0);
    sampler.See(prompt);
    std::vector<int32_t> made;
    for (uint32_t step = 0; step < 20; ++step) {
      const std::vector<float> logits = RandomLogits(200, step + 100 * static_cast<uint32_t>(i));
      const Sampler::Distribution actual = sampler.DistributionOf(logits);
      const Distribution expected = Oracle(cases[i], logits, prompt, made);
      ASSERT_EQ(actual.token_ids.size(), expected.size()) << "case " << i << " step " << step;
      for (size_t j = 0; j < actual.token_ids.size(); ++j) {
        ASSERT_TRUE(expected.contains(actual.token_ids[j]));
        EXPECT_NEAR(actual.probabilities[j], expected.at(actual.token_ids[j]), 1e-5);
      }
      made.push_back(sampler.Choose(logits));
      EXPECT_TRUE(expected.contains(made.back()));
    }
  }
}

TEST(Sampler, PenaltiesHoldForGreedyToo) {
  const std::vector<float> logits = {1.0f, 3.0f, 2.5f, -1.0f};
  EXPECT_EQ(Sampler({}, 0).Choose(logits), 1);
  Sampler repetition({.repetition_penalty = 2.0f}, 0);
  repetition.See(std::vector<int32_t>{1, 3, 1});
  EXPECT_EQ(repetition.Choose(logits), 2);  // 1 has 1.5
  EXPECT_EQ(repetition.Choose(logits), 1);  // 2 has 1.25 now
  Sampler presence({.presence_penalty = 1.0f}, 0);
  presence.See(std::vector<int32_t>{1});
  EXPECT_EQ(presence.Choose(logits), 1);  // the prompt does not count
  EXPECT_EQ(presence.Choose(logits), 2);
  EXPECT_EQ(presence.Choose(logits), 1);  // 2.0 against 1.5 and 1.0
}

TEST(Sampler, TiesAndNonFiniteLogits) {
  const std::vector<float> ties = {2.0f, 5.0f, 2.0f, 2.0f, 1.0f};
  EXPECT_EQ(Sampler({.temperature = 1.0f, .top_k = 2}, 0).DistributionOf(ties).token_ids,
            (std::vector<int32_t>{1, 0, 2, 3}));
  const std::vector<float> odd = {NAN, -INFINITY, 1.0f, NAN, 0.0f};
  EXPECT_EQ(Sampler({}, 0).Choose(odd), 2);
  EXPECT_EQ(Sampler({.temperature = 1.0f}, 0).DistributionOf(odd).token_ids,
            (std::vector<int32_t>{2, 4}));
  const std::vector<float> infinite = {0.0f, INFINITY, INFINITY};
  EXPECT_EQ(Sampler({.temperature = 1.0f}, 0).Choose(infinite), 1);
}

TEST(Sampler, DrawsAsOftenAsProbable) {
  const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(7.0f)};
  Sampler sampler({.temperature = 1.0f, .seed = 5}, 0);
  std::vector<int> counts(3);
  for (int i = 0; i < 10000; ++i) ++counts[sampler.Choose(logits)];
  // Five standard deviations of a binomial count.
  EXPECT_NEAR(counts[0], 1000, 5 * std::sqrt(10000 * 0.1 * 0.9));
  EXPECT_NEAR(counts[2], 7000, 5 * std::sqrt(10000 * 0.7 * 0.3));
}

TEST(CheckSampling, NamesWhatIsOutOfRange) {
  const auto says = [](SamplingOptions options, std::string_view name) {
    const Status status = CheckSampling(options);
    return !status && status.error().message.starts_with(name);
  };
  EXPECT_TRUE(CheckSampling({}).has_value());
  EXPECT_TRUE(says({.temperature = -1.0f}, "temperature: -1"));
  EXPECT_TRUE(says({.top_k = -1}, "top_k: -1"));
  EXPECT_TRUE(says({.top_p = 0.0f}, "top_p: 0"));
  EXPECT_TRUE(says({.min_p = 1.5f}, "min_p: 1.5"));
  EXPECT_TRUE(says({.repetition_penalty = 0.0f}, "repetition_penalty: 0"));
  EXPECT_TRUE(says({.repetition_penalty = INFINITY}, "repetition_penalty: inf"));
  EXPECT_TRUE(says({.presence_penalty = 2.5f}, "presence_penalty: 2.5"));
  EXPECT_TRUE(says({.frequency_penalty = NAN}, "frequency_penalty: nan"));
}

}  // namespace
}  // namespace expertile
