// TextTokenizer and TextStream: text to token ids and back.
// Not the prompt of a conversation (chat_template.h), and not generation (generation.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/result.h"

namespace expertile {

// A checkpoint's tokenizer.json. Safe to use from several threads at once.
class TextTokenizer {
 public:
  // Refuses a tokenizer whose parts it does not implement exactly, naming the part.
  static Result<TextTokenizer> Load(const std::filesystem::path& folder);

  // UTF-8 text to ids; special tokens written in the text become their ids. Each ill-formed byte
  // sequence counts as U+FFFD. With `add_special_tokens` the tokenizer's own template adds its
  // tokens, where it has one.
  Result<std::vector<int32_t>> Encode(std::string_view text, bool add_special_tokens = true) const;
  Result<std::string> Decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;
  std::optional<std::string> TokenText(int32_t id) const;  // as the vocabulary spells it
  std::optional<int32_t> TokenId(std::string_view token) const;

 private:
  friend class TextStream;
  struct State;
  explicit TextTokenizer(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

// Decodes ids as they come; never gives half a UTF-8 character.
class TextStream {
 public:
  explicit TextStream(const TextTokenizer& tokenizer, bool skip_special_tokens = false);
  TextStream(TextStream&&) noexcept;
  ~TextStream();
  Result<std::string> Push(int32_t id);  // the text that is certain now
  std::string Flush();                   // what is left: U+FFFD for a character that never ended

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace expertile
