#include "tokenizer/post_processor.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/json_fields.h"

namespace expertile {
namespace {

constexpr std::string_view kWhere = "post_processor";

// Appends the ids of {"SpecialToken": {"id": name}}, listed under special_tokens[name].ids.
Status AppendSpecialToken(const nlohmann::json& piece, const nlohmann::json& special_tokens,
                          int32_t vocab_size, std::vector<int32_t>* ids) {
  EXPERTILE_ASSIGN(const std::string name, StringField(piece, "id", kWhere));
  const nlohmann::json& listed = FieldOrNull(FieldOrNull(special_tokens, name), "ids");
  if (!listed.is_array())
    return InvalidData("{}: no ids for special token '{}'", kWhere, OneLine(name));
  for (const nlohmann::json& value : listed) {
    EXPERTILE_ASSIGN(const int32_t id, IdValue(value, kWhere));
    if (id >= vocab_size) {
      return InvalidData("{}: special token '{}' has id {}, not in [0, {})", kWhere, OneLine(name),
                         id, vocab_size);
    }
    ids->push_back(id);
  }
  return {};
}

}  // namespace

Result<PostProcessor> PostProcessor::FromJson(const nlohmann::json& object, int32_t vocab_size) {
  EXPERTILE_ASSIGN(const auto leaves, FlattenSequence(object, "processors", kWhere));
  PostProcessor post_processor;
  bool has_template = false;
  for (const nlohmann::json* leaf : leaves) {
    EXPERTILE_ASSIGN(const std::string type, StringField(*leaf, "type", kWhere));
    if (type == "ByteLevel") continue;
    if (type != "TemplateProcessing") return Unsupported("{}: type '{}'", kWhere, OneLine(type));
    if (has_template) return Unsupported("{}: a second TemplateProcessing", kWhere);
    EXPERTILE_RETURN_IF_ERROR(post_processor.LoadTemplate(*leaf, vocab_size));
    has_template = true;
  }
  return post_processor;
}

Status PostProcessor::LoadTemplate(const nlohmann::json& leaf, int32_t vocab_size) {
  const nlohmann::json& single = FieldOrNull(leaf, "single");
  if (!single.is_array()) return InvalidData("{}: 'single' is not an array", kWhere);
  const nlohmann::json& special_tokens = FieldOrNull(leaf, "special_tokens");
  bool seen_text = false;
  for (const nlohmann::json& piece : single) {
    if (const auto& token = FieldOrNull(piece, "SpecialToken"); !token.is_null()) {
      EXPERTILE_RETURN_IF_ERROR(
          AppendSpecialToken(token, special_tokens, vocab_size, seen_text ? &after_ : &before_));
      continue;
    }
    EXPERTILE_ASSIGN(const std::string name,
                     StringField(FieldOrNull(piece, "Sequence"), "id", kWhere));
    if (name != "A" || seen_text) {
      return Unsupported("{}: 'single' holds sequence '{}', expected 'A' once", kWhere,
                         OneLine(name));
    }
    seen_text = true;
  }
  if (!seen_text) return InvalidData("{}: 'single' does not hold sequence 'A'", kWhere);
  return {};
}

std::vector<int32_t> PostProcessor::AddSpecialTokens(std::vector<int32_t> ids) const {
  ids.insert(ids.begin(), before_.begin(), before_.end());
  ids.insert(ids.end(), after_.begin(), after_.end());
  return ids;
}

}  // namespace expertile
