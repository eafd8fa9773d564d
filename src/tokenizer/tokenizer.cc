#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/model_folder.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/utf8.h"

namespace expertile {

Tokenizer::Tokenizer(BpeModel model, Normalizer normalizer, PreTokenizer pre_tokenizer,
                     AddedTokens added_tokens, PostProcessor post_processor, TokenDecoder decoder)
    : model_(std::move(model)),
      normalizer_(std::move(normalizer)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      added_tokens_(std::move(added_tokens)),
      post_processor_(std::move(post_processor)),
      decoder_(std::move(decoder)) {}

Result<Tokenizer> Tokenizer::FromJson(std::string_view json, std::string_view source_name) {
  Result<Tokenizer> tokenizer = FromJsonUnnamed(json);
  if (tokenizer) return tokenizer;
  return Fail(tokenizer.error().code, "{}: {}", source_name, tokenizer.error().message);
}

Result<Tokenizer> Tokenizer::FromJsonUnnamed(std::string_view json) {
  const auto root = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return InvalidData("not a JSON object");
  EXPERTILE_ASSIGN(BpeModel model, BpeModel::FromJson(FieldOrNull(root, "model")));
  EXPERTILE_ASSIGN(Normalizer normalizer, Normalizer::FromJson(FieldOrNull(root, "normalizer")));
  EXPERTILE_ASSIGN(PreTokenizer pre_tokenizer,
                   PreTokenizer::FromJson(FieldOrNull(root, "pre_tokenizer")));
  EXPERTILE_ASSIGN(AddedTokens added_tokens,
                   AddedTokens::FromJson(FieldOrNull(root, "added_tokens"), model, normalizer));
  const int32_t vocab_size = std::max(model.end_id(), added_tokens.end_id());
  EXPERTILE_ASSIGN(PostProcessor post_processor,
                   PostProcessor::FromJson(FieldOrNull(root, "post_processor"), vocab_size));
  EXPERTILE_ASSIGN(TokenDecoder decoder, TokenDecoder::FromJson(FieldOrNull(root, "decoder")));
  return Tokenizer(std::move(model), std::move(normalizer), std::move(pre_tokenizer),
                   std::move(added_tokens), std::move(post_processor), std::move(decoder));
}

Result<Tokenizer> Tokenizer::Load(const std::filesystem::path& checkpoint_folder) {
  EXPERTILE_RETURN_IF_ERROR(CheckModelFolder(checkpoint_folder, "tokenizer.json"));
  const std::filesystem::path path = checkpoint_folder / "tokenizer.json";
  EXPERTILE_ASSIGN(const MappedFile file, MappedFile::Open(path));
  return FromJson(file.text(), path.string());
}

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, EncodeOptions options) const {
  const std::string raw = WellFormedUtf8(text);
  std::vector<int32_t> ids;
  BpeModel::Scratch scratch;
  EXPERTILE_ASSIGN(const auto segments, added_tokens_.CutRaw(raw));
  for (const AddedTokens::Segment& segment : segments) {
    if (segment.id) {
      ids.push_back(*segment.id);
    } else {
      const auto [begin, end] = segment.range;
      const auto stretch = std::string_view(raw).substr(begin, end - begin);
      EXPERTILE_RETURN_IF_ERROR(AppendText(stretch, &scratch, &ids));
    }
  }
  if (!options.add_special_tokens) return ids;
  return post_processor_.AddSpecialTokens(std::move(ids));
}

Status Tokenizer::AppendText(std::string_view raw, BpeModel::Scratch* scratch,
                             std::vector<int32_t>* ids) const {
  EXPERTILE_ASSIGN(const std::string text, normalizer_.Apply(raw));
  EXPERTILE_ASSIGN(const auto segments, added_tokens_.CutNormalized(text));
  for (const AddedTokens::Segment& segment : segments) {
    if (segment.id) {
      ids->push_back(*segment.id);
      continue;
    }
    const auto [begin, end] = segment.range;
    EXPERTILE_ASSIGN(const TextPieces pieces,
                     pre_tokenizer_.Split(std::string_view(text).substr(begin, end - begin)));
    for (size_t i = 0; i < pieces.size(); ++i) {
      EXPERTILE_RETURN_IF_ERROR(model_.AppendTokens(pieces[i], scratch, ids));
    }
  }
  return {};
}

Result<std::string> Tokenizer::Decode(std::span<const int32_t> ids,
                                      bool skip_special_tokens) const {
  std::string bytes;
  bool is_first = true;
  for (const int32_t id : ids) {
    EXPERTILE_RETURN_IF_ERROR(AppendBytes(id, skip_special_tokens, &is_first, &bytes));
  }
  return WellFormedUtf8(bytes);
}

Status Tokenizer::AppendBytes(int32_t id, bool skip_special_tokens, bool* is_first,
                              std::string* bytes) const {
  if (id < 0 || id >= vocab_size()) {
    return InvalidArgument("token id {}: not in [0, {}), the vocabulary", id, vocab_size());
  }
  const auto token = TokenText(id);
  if (!token || (skip_special_tokens && IsSpecial(id))) return {};
  decoder_.AppendBytes(*token, *is_first, bytes);
  *is_first = false;
  return {};
}

std::optional<std::string_view> Tokenizer::TokenText(int32_t id) const {
  if (const std::string* form = added_tokens_.FormOf(id)) return *form;
  if (const std::string* token = model_.TextOf(id)) return *token;
  return std::nullopt;
}

std::optional<int32_t> Tokenizer::TokenId(std::string_view token) const {
  if (const auto id = added_tokens_.IdOf(token)) return id;
  return model_.IdOf(token);
}

int Tokenizer::vocab_size() const { return std::max(model_.end_id(), added_tokens_.end_id()); }

Result<std::string> TokenStreamDecoder::Push(int32_t id) {
  EXPERTILE_RETURN_IF_ERROR(
      tokenizer_.AppendBytes(id, skip_special_tokens_, &is_first_, &pending_));
  return TakeCertainUtf8(&pending_);
}

std::string TokenStreamDecoder::Flush() {
  is_first_ = true;
  return WellFormedUtf8(std::exchange(pending_, {}));
}

}  // namespace expertile
