// A folder that tests fill with the small files of a checkpoint; it goes when the test ends.
// Not for weights.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/tokenizer.h"

namespace expertile {

class TestFolder {
 public:
  TestFolder() {
    static int count = 0;
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::path(testing::TempDir()) /
            (std::string("expertile_") + test->test_suite_name() + "_" + test->name() + "_" +
             std::to_string(getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }

  const std::filesystem::path& path() const { return path_; }
  TestFolder& Add(const std::string& name, std::string_view content) {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
    return *this;
  }

 private:
  std::filesystem::path path_;
};

// A tokenizer of single bytes of ASCII and of "é", and of `special` tokens.
inline TextTokenizer ByteTokenizer(const std::vector<std::string>& special) {
  nlohmann::json vocab = {{"Ġ", 0}, {"Ċ", 1}, {"Ã", 2}, {"©", 3}};
  for (char c = '!'; c <= '~'; ++c) vocab[std::string(1, c)] = vocab.size();
  nlohmann::json added = nlohmann::json::array();
  for (const std::string& token : special) {
    added.push_back({{"id", vocab.size() + added.size()}, {"content", token}, {"special", true}});
  }
  const nlohmann::json tokenizer = {
      {"added_tokens", added},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  TestFolder folder;
  folder.Add("tokenizer.json", tokenizer.dump());
  return TextTokenizer::Load(folder.path()).value();
}

}  // namespace expertile
