#include "tokenizer/bpe_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

namespace expertile {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

// The definition: while any merge applies, do the one of lowest rank, leftmost first.
std::vector<std::string> MergeByDefinition(const std::string& text, const Merges& merges) {
  std::vector<std::string> symbols;
  for (const char c : text) symbols.emplace_back(1, c);
  for (size_t rank = 0; rank < merges.size();) {
    const auto& [left, right] = merges[rank];
    bool merged = false;
    for (size_t i = 0; i + 1 < symbols.size() && !merged; ++i) {
      if (symbols[i] != left || symbols[i + 1] != right) continue;
      symbols[i] += symbols[i + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      merged = true;
    }
    rank = merged ? 0 : rank + 1;
  }
  return symbols;
}

nlohmann::json ModelJson(const std::vector<std::string>& vocabulary, const Merges& merges) {
  nlohmann::json model = {{"type", "BPE"}, {"merges", merges}};
  for (size_t i = 0; i < vocabulary.size(); ++i) model["vocab"][vocabulary[i]] = i;
  return model;
}

std::vector<std::string> Tokens(const BpeModel& model, const std::string& text) {
  BpeModel::Scratch scratch;
  std::vector<int32_t> ids;
  EXPECT_TRUE(model.AppendTokens(text, &scratch, &ids));
  std::vector<std::string> tokens;
  for (const int32_t id : ids) tokens.push_back(*model.TextOf(id));
  return tokens;
}

TEST(BpeModelTest, AgreesWithTheDefinition) {
  std::mt19937 random(1);
  for (int round = 0; round < 100; ++round) {
    std::vector<std::string> vocabulary = {"a", "b", "c"};
    Merges merges;
    while (merges.size() < 12) {
      const std::string left = vocabulary[random() % vocabulary.size()];
      const std::string right = vocabulary[random() % vocabulary.size()];
      const auto known = std::find(vocabulary.begin(), vocabulary.end(), left + right);
      if (known != vocabulary.end()) continue;
      merges.emplace_back(left, right);
      vocabulary.push_back(left + right);
    }
    std::shuffle(merges.begin(), merges.end(), random);
    const BpeModel model = BpeModel::FromJson(ModelJson(vocabulary, merges)).value();
    for (int i = 0; i < 20; ++i) {
      std::string text(random() % 30, 'a');
      for (char& c : text) c = "abc"[random() % 3];
      EXPECT_EQ(Tokens(model, text), MergeByDefinition(text, merges)) << text;
    }
  }
}

// Quadratic merging would take minutes here.
TEST(BpeModelTest, LongWord) {
  std::vector<std::string> vocabulary = {"a", "b"};
  Merges merges;
  for (std::string token = "a"; token.size() <= 1024; token += token) {
    merges.emplace_back(token, token);
    vocabulary.push_back(token + token);
  }
  const BpeModel model = BpeModel::FromJson(ModelJson(vocabulary, merges)).value();
  const std::vector<std::string> tokens = Tokens(model, std::string(1 << 20, 'a') + "b");
  EXPECT_EQ(tokens.size(), (1 << 20) / 2048 + 1);
  EXPECT_EQ(tokens.back(), "b");
}

TEST(BpeModelTest, RefusesWhatItCannotHonour) {
  const nlohmann::json good = ModelJson({"a", "b", "ab"}, {{"a", "b"}});
  ASSERT_TRUE(BpeModel::FromJson(good));
  const auto expect_refusal = [&](const char* key, const nlohmann::json& value, const char* fact) {
    nlohmann::json model = good;
    model[key] = value;
    const auto result = BpeModel::FromJson(model);
    ASSERT_FALSE(result) << key << value;
    EXPECT_NE(result.error().message.find(fact), std::string::npos) << result.error().message;
  };
  expect_refusal("type", "Unigram", "Unigram");
  expect_refusal("dropout", 0.5, "0.5");
  expect_refusal("byte_fallback", true, "byte_fallback");
  expect_refusal("continuing_subword_prefix", "##", "continuing_subword_prefix");
  expect_refusal("end_of_word_suffix", "</w>", "end_of_word_suffix");
  expect_refusal("merges", {"a"}, "'a'");
  expect_refusal("merges", {"a b c"}, "'a b c'");
  expect_refusal("merges", {"b b"}, "'bb'");
  expect_refusal("merges", {nlohmann::json::array({"a", 1})}, "merge 0");
  expect_refusal("merges", nullptr, "null");
  expect_refusal("vocab", {{"a", -1}}, "-1");
  expect_refusal("vocab", {{"a", 2147483647}}, "2147483647");
  expect_refusal("vocab", {{"a", 1.5}}, "1.5");
  expect_refusal("vocab", {{"a", 7}, {"c", 7}}, "id 7");
  expect_refusal("ignore_merges", "yes", "ignore_merges");
}

}  // namespace
}  // namespace expertile
