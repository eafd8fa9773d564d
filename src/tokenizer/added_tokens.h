// The added tokens of tokenizer.json: strings that are cut out of the text whole, before anything
// else looks at it. Not for tokens that merges make (bpe_model.h).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "expertile/result.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/regex.h"

namespace expertile {

// Finds the longest of a set of strings at a position of a text.
class TokenTrie {
 public:
  struct Match {
    size_t size;
    size_t value;
  };

  // The first value given for a text stays. `text` must not be empty.
  void Insert(std::string_view text, size_t value);
  std::optional<Match> LongestAt(std::string_view text) const;

 private:
  std::unordered_map<uint64_t, uint32_t> children_;  // (node << 8 | byte) -> node; 0 is the root
  std::vector<std::optional<size_t>> values_ = {std::nullopt};  // by node
};

class AddedTokens {
 public:
  // `array` may be null. Ids are those that Hugging Face tokenizers gives: the model's own where it
  // has the token, else counted on from the end of the vocabulary, in the order of the array.
  static Result<AddedTokens> FromJson(const nlohmann::json& array, const BpeModel& model,
                                      const Normalizer& normalizer);

  // A stretch of text, or an added token found there.
  struct Segment {
    std::optional<int32_t> id;  // nothing: text
    TextRange range;
  };
  // Cuts text as it came by the tokens with normalized=false; leftmost, then longest.
  Result<std::vector<Segment>> CutRaw(std::string_view text) const { return Cut(raw_, text); }
  // Cuts normalized text by the tokens with normalized=true, in their normalized form.
  Result<std::vector<Segment>> CutNormalized(std::string_view text) const {
    return Cut(normalized_, text);
  }

  std::optional<int32_t> IdOf(std::string_view content) const;
  const std::string* FormOf(int32_t id) const;  // null: not an added token
  bool IsSpecial(int32_t id) const;
  int32_t end_id() const { return end_id_; }  // the largest id plus 1

 private:
  struct Token {
    int32_t id = 0;
    std::string content;
    std::string form;  // what is found in text and decoded to: content, normalized if so flagged
    bool single_word = false;
    bool lstrip = false;
    bool rstrip = false;
    bool normalized = false;
    bool special = false;
    bool operator==(const Token&) const = default;
  };

  static Result<Token> TokenFromJson(const nlohmann::json& object);
  Status Add(Token token, const BpeModel& model);
  Status BuildTries(const Normalizer& normalizer);
  Result<bool> IsSingleWord(std::string_view text, TextRange match) const;
  Result<std::vector<Segment>> Cut(const TokenTrie& trie, std::string_view text) const;

  std::vector<Token> tokens_;
  std::unordered_map<std::string, size_t> index_of_content_;
  std::unordered_map<int32_t, size_t> index_of_id_;
  int32_t end_id_ = 0;
  TokenTrie raw_;
  TokenTrie normalized_;
  std::optional<Regex> word_character_;
};

}  // namespace expertile
