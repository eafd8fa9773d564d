#include "tokenizer/post_processor.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/json_fields.h"

namespace expertile {
namespace {

constexpr std::string_view kWhere = "post_processor";

// Appends the ids of {"SpecialToken": {"id": name}}, listed under special_tokens[name].ids.
Status AppendSpecialToken(const nlohmann::json& piece, const nlohmann::json& special_tokens,
                          std::vector<int32_t>* ids) {
  EXPERTILE_ASSIGN(const std::string name, StringField(piece, "id", kWhere));
  const nlohmann::json& listed = FieldOrNull(FieldOrNull(special_tokens, name), "ids");
  if (!listed.is_array()) return InvalidData("{}: no ids for special token '{}'", kWhere, name);
  for (const nlohmann::json& value : listed) {
    EXPERTILE_ASSIGN(const int32_t id, IdValue(value, kWhere));
    ids->push_back(id);
  }
  return {};
}

}  // namespace

Result<PostProcessor> PostProcessor::FromJson(const nlohmann::json& object) {
  EXPERTILE_ASSIGN(const auto leaves, FlattenSequence(object, "processors", kWhere));
  PostProcessor post_processor;
  for (const nlohmann::json* leaf : leaves) {
    EXPERTILE_ASSIGN(const std::string type, StringField(*leaf, "type", kWhere));
    if (type == "TemplateProcessing") {
      EXPERTILE_ASSIGN(Template loaded, TemplateFromJson(*leaf));
      post_processor.templates_.push_back(std::move(loaded));
    } else if (type != "ByteLevel") {
      return Unsupported("{}: type '{}'", kWhere, type);
    }
  }
  return post_processor;
}

Result<PostProcessor::Template> PostProcessor::TemplateFromJson(const nlohmann::json& leaf) {
  const nlohmann::json& single = FieldOrNull(leaf, "single");
  if (!single.is_array()) return InvalidData("{}: 'single' is not an array", kWhere);
  Template result;
  bool seen_text = false;
  for (const nlohmann::json& piece : single) {
    if (const auto& token = FieldOrNull(piece, "SpecialToken"); !token.is_null()) {
      EXPERTILE_RETURN_IF_ERROR(AppendSpecialToken(token, FieldOrNull(leaf, "special_tokens"),
                                                   seen_text ? &result.after : &result.before));
      continue;
    }
    EXPERTILE_ASSIGN(const std::string name,
                     StringField(FieldOrNull(piece, "Sequence"), "id", kWhere));
    if (name != "A" || seen_text) {
      return Unsupported("{}: 'single' holds sequence '{}', expected 'A' once", kWhere, name);
    }
    seen_text = true;
  }
  if (!seen_text) return InvalidData("{}: 'single' does not hold sequence 'A'", kWhere);
  return result;
}

std::vector<int32_t> PostProcessor::AddSpecialTokens(std::vector<int32_t> ids) const {
  for (const Template& around : templates_) {
    ids.insert(ids.begin(), around.before.begin(), around.before.end());
    ids.insert(ids.end(), around.after.begin(), around.after.end());
  }
  return ids;
}

}  // namespace expertile
