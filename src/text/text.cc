// TextTokenizer and TextStream: the public face of tokenizer/.
#include <string>
#include <utility>

#include "base/error.h"
#include "expertile/tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace expertile {

struct TextTokenizer::State {
  Tokenizer tokenizer;
};

TextTokenizer::TextTokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Result<TextTokenizer> TextTokenizer::Load(const std::filesystem::path& folder) {
  EXPERTILE_ASSIGN(Tokenizer tokenizer, Tokenizer::Load(folder));
  return TextTokenizer(std::make_shared<const State>(State{std::move(tokenizer)}));
}

Result<std::vector<int32_t>> TextTokenizer::Encode(std::string_view text,
                                                   bool add_special_tokens) const {
  return state_->tokenizer.Encode(text, {.add_special_tokens = add_special_tokens});
}

Result<std::string> TextTokenizer::Decode(std::span<const int32_t> ids,
                                          bool skip_special_tokens) const {
  return state_->tokenizer.Decode(ids, skip_special_tokens);
}

std::optional<std::string> TextTokenizer::TokenText(int32_t id) const {
  const auto text = state_->tokenizer.TokenText(id);
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

std::optional<int32_t> TextTokenizer::TokenId(std::string_view token) const {
  return state_->tokenizer.TokenId(token);
}

struct TextStream::State {
  std::shared_ptr<const TextTokenizer::State> tokenizer;  // outlives the decoder
  TokenStreamDecoder decoder;
};

TextStream::TextStream(const TextTokenizer& tokenizer, bool skip_special_tokens)
    : state_(new State{tokenizer.state_,
                       TokenStreamDecoder(tokenizer.state_->tokenizer, skip_special_tokens)}) {}
TextStream::TextStream(TextStream&&) noexcept = default;
TextStream::~TextStream() = default;

Result<std::string> TextStream::Push(int32_t id) { return state_->decoder.Push(id); }

std::string TextStream::Flush() { return state_->decoder.Flush(); }

}  // namespace expertile
