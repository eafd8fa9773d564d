#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/file.h"
#include "tokenizer/byte_level.h"

namespace expertile {
namespace {

const std::string kQwenFolder = std::string(EXPERTILE_SOURCE_DIR) + "/models/tiny-qwen3_moe";

const Tokenizer& Qwen() {
  static const Tokenizer tokenizer = Tokenizer::Load(kQwenFolder).value();
  return tokenizer;
}

nlohmann::json SmallJson() {
  nlohmann::json root = {
      {"added_tokens", {{{"content", "<s>"}, {"special", true}}}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"}, {"merges", {"a b"}}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 9}}}}}};
  return root;
}

std::string LoadError(const nlohmann::json& root) {
  const auto result = Tokenizer::FromJson(root.dump(), "x/tokenizer.json");
  return result ? "" : result.error().message;
}

std::string RandomBytes(std::mt19937* random, size_t max_size) {
  std::string bytes((*random)() % (max_size + 1), '\0');
  for (char& byte : bytes) byte = static_cast<char>((*random)());
  return bytes;
}

TEST(TokenizerTest, LookUps) {
  const Tokenizer& qwen = Qwen();
  EXPECT_EQ(qwen.vocab_size(), 4096);
  const int32_t end = qwen.TokenId("<|im_end|>").value();
  EXPECT_EQ(qwen.TokenText(end), "<|im_end|>");
  EXPECT_TRUE(qwen.IsSpecial(end));
  EXPECT_EQ(qwen.TokenText(qwen.Encode(" the").value()[0]), "Ġthe");
  EXPECT_FALSE(qwen.TokenId("no such token"));
  EXPECT_FALSE(qwen.TokenText(4096));
  EXPECT_FALSE(qwen.TokenText(-1));
  EXPECT_FALSE(qwen.IsSpecial(0));
}

TEST(TokenizerTest, DecodeNamesAnIdOutOfRange) {
  for (const int32_t id : {-1, 4096, INT32_MAX, INT32_MIN}) {
    const std::vector<int32_t> ids = {1, id};
    const auto text = Qwen().Decode(ids, false);
    ASSERT_FALSE(text);
    EXPECT_NE(text.error().message.find(std::to_string(id)), std::string::npos);
    EXPECT_NE(text.error().message.find("4096"), std::string::npos);
    EXPECT_FALSE(TokenStreamDecoder(Qwen(), false).Push(id));
  }
}

TEST(TokenizerTest, GapsInTheIdsDecodeToNothing) {
  const auto tokenizer = Tokenizer::FromJson(SmallJson().dump(), "small");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocab_size(), 10);
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{0, 5, 9, 3, 1}, true).value(), "aabb");
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{3}, false).value(), "<s>");
}

TEST(TokenizerTest, EveryByteIsRestored) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  std::string characters;
  std::string bytes;
  AppendByteLevel(all, &characters);
  AppendBytesOf(characters, &bytes);
  EXPECT_EQ(bytes, all);
}

TEST(TokenizerTest, IllFormedTextIsReadAsReplacementCharacters) {
  const Tokenizer& qwen = Qwen();
  EXPECT_EQ(qwen.Encode("a\xFF\xE4\xB8z").value(), qwen.Encode("a\uFFFD\uFFFDz").value());
  std::mt19937 random(2);
  for (int i = 0; i < 500; ++i) EXPECT_TRUE(qwen.Encode(RandomBytes(&random, 40)));
}

TEST(TokenizerTest, StreamGivesWholeCharactersThatAddUpToDecode) {
  const Tokenizer& qwen = Qwen();
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> ids(random() % 40);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % (round % 2 == 0 ? 256 : 4096));
    TokenStreamDecoder stream(qwen, true);
    std::string text;
    for (const int32_t id : ids) {
      const std::string part = stream.Push(id).value();
      EXPECT_NO_THROW(nlohmann::json(part).dump()) << "half a character";
      text += part;
    }
    EXPECT_EQ(text + stream.Flush(), qwen.Decode(ids, true).value());
  }
}

TEST(TokenizerTest, EncodesFromManyThreads) {
  const std::string text = "It's 10 o'clock, Ünïcödé 한국어 <|im_start|>\n\n  and so on";
  const std::vector<int32_t> expected = Qwen().Encode(text).value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) EXPECT_EQ(Qwen().Encode(text).value(), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TokenizerTest, LongRunsOfOneCharacter) {
  constexpr size_t kSize = 1 << 20;
  for (const std::string unit :
       {" ", "a", "A", "\n", "1", ".", "é", "e\u0301", "\u0323\u0301", "\xFF"}) {
    std::string text;
    while (text.size() < kSize) text += unit;
    const auto ids = Qwen().Encode(text + "x");
    ASSERT_TRUE(ids) << ids.error().message;
    const std::string normal = Qwen().Decode(*ids, false).value();
    EXPECT_EQ(Qwen().Encode(normal).value(), *ids) << "of '" << unit << "'";
  }
}

TEST(TokenizerTest, UnknownTypesAreNamed) {
  EXPECT_EQ(LoadError(SmallJson()), "");
  const nlohmann::json unknown = {{"type", "Mystery"}};
  for (const char* member : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "model"}) {
    nlohmann::json root = SmallJson();
    root[member] = unknown;
    EXPECT_TRUE(LoadError(root).starts_with("x/tokenizer.json: " + std::string(member)));
    EXPECT_NE(LoadError(root).find("Mystery"), std::string::npos);
    if (std::string_view(member) == "model") continue;
    for (const char* children : {"normalizers", "pretokenizers", "processors", "decoders"}) {
      root[member][children] = {unknown};
    }
    root[member]["type"] = "Sequence";
    EXPECT_NE(LoadError(root).find("Mystery"), std::string::npos);
  }
}

TEST(TokenizerTest, MalformedFilesAreRefused) {
  const auto with = [](const char* member, const nlohmann::json& value) {
    nlohmann::json root = SmallJson();
    root[member] = value;
    return LoadError(root);
  };
  EXPECT_NE(with("normalizer", 3), "");
  EXPECT_NE(with("normalizer", {{"type", "Sequence"}}), "");
  EXPECT_NE(with("pre_tokenizer", {{"type", "Split"}, {"behavior", "Isolated"}}), "");
  EXPECT_NE(with("pre_tokenizer",
                 {{"type", "Split"}, {"behavior", "Sideways"}, {"pattern", {{"String", "a"}}}}),
            "");
  EXPECT_NE(with("added_tokens", 3), "");
  EXPECT_NE(with("added_tokens", {{{"content", 3}}}), "");
  EXPECT_NE(with("added_tokens", {{{"content", std::string(2000, 'a')}}}), "");
  EXPECT_NE(with("added_tokens", {{{"content", "x"}}, {{"content", "x"}, {"lstrip", true}}}), "");
  EXPECT_NE(with("post_processor",
                 {{"type", "TemplateProcessing"},
                  {"single", {{{"SpecialToken", {{"id", "B"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                  {"special_tokens", {{"B", {{"ids", {10}}}}}}}),
            "");
  nlohmann::json nested = {{"type", "NFC"}};
  for (int i = 0; i < 100; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  EXPECT_NE(with("normalizer", nested), "");
  EXPECT_FALSE(Tokenizer::FromJson("", "x"));
  EXPECT_FALSE(Tokenizer::FromJson("[]", "x"));
  EXPECT_FALSE(Tokenizer::FromJson("{}", "x"));
  EXPECT_FALSE(Tokenizer::FromJson(std::string(100000, '['), "x"));
}

TEST(TokenizerTest, FolderWithoutTokenizerIsNamed) {
  const auto tokenizer = Tokenizer::Load("/no/such/folder");
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kNotFound);
  EXPECT_NE(tokenizer.error().message.find("/no/such/folder"), std::string::npos);
}

}  // namespace
}  // namespace expertile
