#include "text/json_field.h"

#include <utility>

#include "formats/json.h"

namespace expertile {
namespace {

using Json = JsonField::Json;

std::string Describe(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_string()) return fmt::format("\"{}\"", OneLine(value.get_ref<const std::string&>()));
  return value.is_null() ? "missing" : value.dump();
}

}  // namespace

Result<Json> ParseOrderedJson(std::string_view text, std::string_view source) {
  // The strict parser knows depth and places; it sorts keys.
  if (const auto checked = ParseJson(text, source); !checked) {
    return InvalidArgument("{}", checked.error().message);
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("{}: malformed JSON", source);
  return json;
}

JsonField JsonField::operator[](std::string_view key) const {
  static const Json kNull;
  const auto member = value_->find(key);
  return {value_->is_object() && member != value_->end() ? *member : kNull,
          fmt::format("{}{}{}", name_, name_.ends_with(' ') ? "" : ".", key)};
}

JsonField JsonField::operator[](size_t index) const {
  return {(*value_)[index], fmt::format("{}[{}]", name_, index)};
}

Status JsonField::CheckObject() const {
  if (!value_->is_object()) return Expected("an object");
  return {};
}

Status JsonField::CheckArray() const {
  if (!value_->is_array()) return Expected("a list");
  return {};
}

Result<std::string> JsonField::String() const {
  if (!value_->is_string()) return Expected("a string");
  return value_->get<std::string>();
}

Result<int64_t> JsonField::Integer() const {
  const bool fits = value_->is_number_integer() &&
                    !(value_->is_number_unsigned() && value_->get<uint64_t>() > INT64_MAX);
  if (!fits) return Expected("an integer");
  return value_->get<int64_t>();
}

Result<double> JsonField::Number() const {
  if (!value_->is_number()) return Expected("a number");
  return value_->get<double>();
}

Result<std::string> JsonField::StringOrNothing() const {
  return is_null() ? Result<std::string>(std::string()) : String();
}

tl::unexpected<Error> JsonField::Expected(std::string_view what) const {
  return InvalidArgument("{}: {}, expected {}", name_, Describe(*value_), what);
}

}  // namespace expertile
