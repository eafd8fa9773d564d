// Ids and texts against Hugging Face tokenizers (tools/make_tokenizer_goldens.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "tokenizer/tokenizer.h"

namespace expertile {
namespace {

const std::string kRoot = EXPERTILE_SOURCE_DIR;

nlohmann::json ReadGoldens(const std::string& name) {
  const auto text = ReadTextFile(kRoot + "/tests/goldens/tokenizer/" + name);
  return text ? nlohmann::json::parse(*text) : nlohmann::json();
}

std::vector<int32_t> Ids(const nlohmann::json& array) { return array.get<std::vector<int32_t>>(); }

std::string StreamedText(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip) {
  TokenStreamDecoder stream(tokenizer, skip);
  std::string text;
  for (const int32_t id : ids) text += stream.Push(id).value();
  return text + stream.Flush();
}

void ExpectDecodes(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip,
                   const std::string& expected) {
  EXPECT_EQ(tokenizer.Decode(ids, skip).value(), expected);
  EXPECT_EQ(StreamedText(tokenizer, ids, skip), expected);
}

TEST(TokenizerGoldenTest, CheckpointTokenizers) {
  const nlohmann::json goldens = ReadGoldens("checkpoints.json");
  const nlohmann::json& texts = goldens["texts"];
  ASSERT_EQ(goldens["tokenizers"].size(), 4);
  for (const nlohmann::json& golden : goldens["tokenizers"]) {
    const std::string file = kRoot + "/" + golden["file"].get<std::string>();
    SCOPED_TRACE(file);
    const auto tokenizer = Tokenizer::FromJson(ReadTextFile(file).value(), file);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    for (size_t i = 0; i < texts.size(); ++i) {
      SCOPED_TRACE(texts[i].dump());
      const std::vector<int32_t> ids = Ids(golden["ids"][i]);
      EXPECT_EQ(tokenizer->Encode(texts[i].get<std::string>()).value(), ids);
      ExpectDecodes(*tokenizer, ids, false, golden["decoded"][i]);
    }
    for (size_t i = 0; i < golden["id_lists"].size(); ++i) {
      ExpectDecodes(*tokenizer, Ids(golden["id_lists"][i]), true, golden["id_lists_decoded"][i]);
    }
  }
}

TEST(TokenizerGoldenTest, SmallTokenizers) {
  const nlohmann::json goldens = ReadGoldens("small.json");
  ASSERT_GT(goldens.size(), 50);
  for (const nlohmann::json& golden : goldens) {
    SCOPED_TRACE(golden["name"].dump());
    const auto tokenizer = Tokenizer::FromJson(golden["tokenizer"].dump(), "small");
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    for (const nlohmann::json& expected : golden["cases"]) {
      const std::string text = expected["text"];
      SCOPED_TRACE(expected["text"].dump());
      EXPECT_EQ(tokenizer->Encode(text).value(), Ids(expected["ids"]));
      EXPECT_EQ(tokenizer->Encode(text, {.add_special_tokens = false}).value(),
                Ids(expected["ids_without_special"]));
      ExpectDecodes(*tokenizer, Ids(expected["ids"]), false, expected["decoded"]);
    }
  }
}

}  // namespace
}  // namespace expertile
