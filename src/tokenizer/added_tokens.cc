#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/utf8.h"

namespace expertile {
namespace {

constexpr std::string_view kWhere = "added_tokens";
// Matching costs up to this much for each byte of text.
constexpr size_t kMaxTokenSize = 1024;
// \w of the Rust regex crate, which decides what single_word means.
constexpr std::string_view kWordCharacter =
    "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}]";

bool IsWhiteSpace(char32_t c) {  // Unicode PropList.txt, White_Space
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// Where the last character of `text` begins; `text` is well-formed and not empty.
size_t LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

size_t SkipSpaceBackward(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    const size_t begin = LastCharacter(text.substr(0, at));
    if (begin < limit || !IsWhiteSpace(DecodeUtf8(text.substr(begin)).code_point)) break;
    at = begin;
  }
  return at;
}

size_t SkipSpaceForward(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Utf8Step step = DecodeUtf8(text.substr(at));
    if (!IsWhiteSpace(step.code_point)) break;
    at += step.size;
  }
  return at;
}

}  // namespace

void TokenTrie::Insert(std::string_view text, size_t value) {
  uint64_t node = 0;
  for (const char byte : text) {
    const auto next = static_cast<uint32_t>(values_.size());
    const auto [child, inserted] = children_.emplace(node << 8 | static_cast<uint8_t>(byte), next);
    if (inserted) values_.emplace_back();
    node = child->second;
  }
  if (!values_[node]) values_[node] = value;
}

std::optional<TokenTrie::Match> TokenTrie::LongestAt(std::string_view text) const {
  std::optional<Match> longest;
  uint64_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto child = children_.find(node << 8 | static_cast<uint8_t>(text[i]));
    if (child == children_.end()) break;
    node = child->second;
    if (values_[node]) longest = Match{i + 1, *values_[node]};
  }
  return longest;
}

Result<AddedTokens> AddedTokens::FromJson(const nlohmann::json& array, const BpeModel& model,
                                          const Normalizer& normalizer) {
  AddedTokens added;
  if (array.is_null()) return added;
  if (!array.is_array()) {
    return InvalidData("{} is {}, expected an array", kWhere, array.type_name());
  }
  for (const nlohmann::json& object : array) {
    EXPERTILE_ASSIGN(Token token, TokenFromJson(object));
    EXPERTILE_RETURN_IF_ERROR(added.Add(std::move(token), model));
  }
  EXPERTILE_RETURN_IF_ERROR(added.BuildTries(normalizer));
  EXPERTILE_ASSIGN(added.word_character_, Regex::FromOniguruma(kWordCharacter));
  return added;
}

Result<AddedTokens::Token> AddedTokens::TokenFromJson(const nlohmann::json& object) {
  Token token;
  EXPERTILE_ASSIGN(token.content, StringField(object, "content", kWhere));
  EXPERTILE_ASSIGN(token.special, BoolField(object, "special", false, kWhere));
  EXPERTILE_ASSIGN(token.normalized, BoolField(object, "normalized", !token.special, kWhere));
  EXPERTILE_ASSIGN(token.single_word, BoolField(object, "single_word", false, kWhere));
  EXPERTILE_ASSIGN(token.lstrip, BoolField(object, "lstrip", false, kWhere));
  EXPERTILE_ASSIGN(token.rstrip, BoolField(object, "rstrip", false, kWhere));
  return token;
}

Status AddedTokens::Add(Token token, const BpeModel& model) {
  if (token.content.empty()) return {};
  if (const auto known = index_of_content_.find(token.content); known != index_of_content_.end()) {
    token.id = tokens_[known->second].id;
    if (token == tokens_[known->second]) return {};
    return InvalidData("{}: '{}' comes twice, with different options", kWhere,
                       OneLine(token.content));
  }
  const auto known_id = model.IdOf(token.content);
  const int64_t next_id = std::max<int64_t>(end_id_, static_cast<int64_t>(model.num_tokens()));
  if (!known_id && next_id >= std::numeric_limits<int32_t>::max()) {
    return InvalidData("{}: no id is left for '{}'", kWhere, OneLine(token.content));
  }
  token.id = known_id.value_or(static_cast<int32_t>(next_id));
  end_id_ = std::max(end_id_, token.id + 1);
  index_of_content_.emplace(token.content, tokens_.size());
  index_of_id_.emplace(token.id, tokens_.size());
  tokens_.push_back(std::move(token));
  return {};
}

// Special tokens last: of two whose normalized forms are equal, the first inserted counts.
Status AddedTokens::BuildTries(const Normalizer& normalizer) {
  for (const bool special : {false, true}) {
    for (size_t i = 0; i < tokens_.size(); ++i) {
      Token& token = tokens_[i];
      if (token.special != special) continue;
      token.form = token.content;
      if (token.normalized) {
        EXPERTILE_ASSIGN(token.form, normalizer.Apply(token.content));
      }
      if (token.form.empty() || token.form.size() > kMaxTokenSize) {
        return Unsupported("{}: '{}' has {} bytes, expected 1 to {}", kWhere,
                           OneLine(token.content), token.form.size(), kMaxTokenSize);
      }
      (token.normalized ? normalized_ : raw_).Insert(token.form, i);
    }
  }
  return {};
}

Result<bool> AddedTokens::IsSingleWord(std::string_view text, TextRange match) const {
  RegexSearch word(*word_character_);
  std::vector<TextRange> found;
  if (match.begin > 0) {
    const std::string_view before = text.substr(0, match.begin);
    EXPERTILE_RETURN_IF_ERROR(word.FindAll(before.substr(LastCharacter(before)), &found));
    if (!found.empty()) return false;
  }
  if (match.end < text.size()) {
    const std::string_view after = text.substr(match.end);
    EXPERTILE_RETURN_IF_ERROR(word.FindAll(after.substr(0, DecodeUtf8(after).size), &found));
    if (!found.empty()) return false;
  }
  return true;
}

// The rules are those of AddedVocabulary::find_matches in Hugging Face tokenizers, where a token
// may lie in the space that rstrip gave to the one before it; the space is then cut twice.
Result<std::vector<AddedTokens::Segment>> AddedTokens::Cut(const TokenTrie& trie,
                                                           std::string_view text) const {
  std::vector<Segment> segments;
  size_t end = 0;      // of the last segment
  TextRange stripped;  // the last stretch of space that rstrip walked over
  for (size_t at = 0; at < text.size();) {
    const auto found = trie.LongestAt(text.substr(at));
    if (!found) {
      ++at;
      continue;
    }
    const Token& token = tokens_[found->value];
    TextRange match = {at, at + found->size};
    at = match.end;
    if (token.single_word) {
      EXPERTILE_ASSIGN(const bool is_single, IsSingleWord(text, match));
      if (!is_single) continue;
    }
    if (token.lstrip) match.begin = SkipSpaceBackward(text, match.begin, end);
    if (token.rstrip) {
      if (match.end >= stripped.end) {
        stripped = {match.end, SkipSpaceForward(text, match.end)};
      }
      match.end = stripped.end;
    }
    if (end < match.begin) segments.push_back({std::nullopt, {end, match.begin}});
    segments.push_back({token.id, match});
    end = match.end;
  }
  if (end != text.size()) segments.push_back({std::nullopt, {end, text.size()}});
  return segments;
}

std::optional<int32_t> AddedTokens::IdOf(std::string_view content) const {
  const auto found = index_of_content_.find(std::string(content));
  return found == index_of_content_.end() ? std::nullopt : std::optional(tokens_[found->second].id);
}

const std::string* AddedTokens::FormOf(int32_t id) const {
  const auto found = index_of_id_.find(id);
  return found == index_of_id_.end() ? nullptr : &tokens_[found->second].form;
}

bool AddedTokens::IsSpecial(int32_t id) const {
  const auto found = index_of_id_.find(id);
  return found != index_of_id_.end() && tokens_[found->second].special;
}

}  // namespace expertile
