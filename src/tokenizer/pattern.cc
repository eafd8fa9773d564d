#include "tokenizer/pattern.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/json_fields.h"

namespace expertile {

Result<Regex> PatternFromJson(const nlohmann::json& pattern, std::string_view where) {
  const nlohmann::json& regex = FieldOrNull(pattern, "Regex");
  if (regex.is_string()) return Regex::FromOniguruma(regex.get_ref<const std::string&>());
  const nlohmann::json& text = FieldOrNull(pattern, "String");
  if (text.is_string()) return Regex::FromLiteral(text.get_ref<const std::string&>());
  return InvalidData("{}: pattern has neither a string 'Regex' nor a string 'String'", where);
}

}  // namespace expertile
