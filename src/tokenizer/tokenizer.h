// Text to token ids and back, exactly as Hugging Face tokenizers does for the byte-level BPE
// tokenizers that tokenizer.json files describe.
// Not for chat templates, and not for WordPiece, Unigram or SentencePiece-style models: any type
// that is not known here is an error that names it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/result.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_decoder.h"

namespace expertile {

struct EncodeOptions {
  bool add_special_tokens = true;  // those of the post-processor's template
};

// Character classes are those of the linked PCRE2 and normal forms those of utf8proc: on characters
// newer than their Unicode versions (14 and 15 in Debian 12), and on the few marks that
// Hugging Face's older tables order otherwise, ids may differ.
// Immutable: every const method may be called from many threads at once.
class Tokenizer {
 public:
  // `json` is the text of a tokenizer.json; errors begin with `source_name`. The members
  // "truncation" and "padding" are call options in transformers and are not applied.
  static Result<Tokenizer> FromJson(std::string_view json, std::string_view source_name);
  // Reads tokenizer.json of a checkpoint folder.
  static Result<Tokenizer> Load(const std::filesystem::path& checkpoint_folder);

  // Ill-formed UTF-8 is read as U+FFFD, one for each maximal subpart (as Python's
  // errors="replace"). Fails on hostile patterns that exhaust the match limit, on a piece beyond
  // BpeModel::kMaxPieceSize, and where an unknown character has no token.
  Result<std::vector<int32_t>> Encode(std::string_view text, EncodeOptions options = {}) const;

  // The text of `ids`, ill-formed UTF-8 as U+FFFD. An id outside [0, vocab_size()) is an error; a
  // gap in the ids decodes to nothing.
  Result<std::string> Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // The vocabulary's own spelling of a token (" the" is "Ġthe"), for display; nothing if the id
  // has none. The view lives as long as the tokenizer.
  std::optional<std::string_view> TokenText(int32_t id) const;
  std::optional<int32_t> TokenId(std::string_view token) const;
  bool IsSpecial(int32_t id) const { return added_tokens_.IsSpecial(id); }
  int vocab_size() const;  // the largest id plus 1, added tokens included

 private:
  friend class TokenStreamDecoder;
  Tokenizer(BpeModel model, Normalizer normalizer, PreTokenizer pre_tokenizer,
            AddedTokens added_tokens, PostProcessor post_processor, TokenDecoder decoder);
  static Result<Tokenizer> FromJsonUnnamed(std::string_view json);
  Status AppendText(std::string_view raw, BpeModel::Scratch* scratch,
                    std::vector<int32_t>* ids) const;
  // Appends the bytes of `id` if it has any to show; sets `*is_first` to false if so.
  Status AppendBytes(int32_t id, bool skip_special_tokens, bool* is_first,
                     std::string* bytes) const;

  BpeModel model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokens added_tokens_;
  PostProcessor post_processor_;
  TokenDecoder decoder_;
};

// Decodes ids as they are sampled. What Push and Flush return, put together, is what
// Tokenizer::Decode gives for all ids at once.
class TokenStreamDecoder {
 public:
  // `tokenizer` must outlive the stream.
  TokenStreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
      : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

  // The text that no later id can change: never part of a character.
  Result<std::string> Push(int32_t id);
  // The rest: U+FFFD if the ids ended inside a character. The stream may then be used again.
  std::string Flush();

 private:
  const Tokenizer& tokenizer_;
  const bool skip_special_tokens_;
  bool is_first_ = true;
  std::string pending_;  // bytes not yet a whole character
};

}  // namespace expertile
