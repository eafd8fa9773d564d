#include "formats/json.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "formats/python_json.h"

namespace expertile {
namespace {

using nlohmann::json;

// Builds the document while the parser walks the text, and stops it at the first thing refused.
// nlohmann's own builder would nest without bound and know nothing of replaced numbers.
class DocumentBuilder final : public nlohmann::json_sax<json> {
 public:
  // `text` is quoted in errors; `numbers` stand in the place of strings (StandardJson).
  DocumentBuilder(std::string_view text, JsonRules rules, const std::map<size_t, double>& numbers)
      : text_(text), rules_(rules), numbers_(numbers) {}

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(json::number_integer_t value) override { return Add(value); }
  bool number_unsigned(json::number_unsigned_t value) override { return Add(value); }
  bool number_float(json::number_float_t value, const std::string&) override { return Add(value); }
  bool string(std::string& value) override {
    const auto number = numbers_.find(num_strings_++);
    return number == numbers_.end() ? Add(std::move(value)) : Add(number->second);
  }
  bool binary(json::binary_t&) override { return false; }  // JSON text has none

  bool start_object(size_t) override { return Open(json::object()); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(json::array()); }
  bool end_array() override { return Close(); }

  bool key(std::string& key) override {
    if (numbers_.contains(num_strings_++)) {
      refusal_ = "a number in the place of a field's name";
      return false;
    }
    auto [place, is_first] = open_.back()->get_ref<json::object_t&>().try_emplace(std::move(key));
    field_ = &place->second;
    if (is_first || rules_ == JsonRules::kPython) return true;
    refusal_ = fmt::format("two fields named \"{}\"", OneLine(place->first));
    return false;
  }

  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    constexpr size_t kExcerptSize = 20;
    const std::string_view before = text_.substr(0, position);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t column = before.size() - (before.rfind('\n') + 1);  // npos + 1 == 0
    const size_t excerpt = before.size() - std::min(before.size(), kExcerptSize);
    refusal_ = fmt::format("line {}, column {}: malformed JSON near `{}`", line, column,
                           OneLine(before.substr(excerpt)));
    return false;
  }

  json& document() { return document_; }
  const std::string& refusal() const { return refusal_; }

 private:
  json* Place(json value) {
    json* place = &document_;
    if (!open_.empty() && open_.back()->is_array()) {
      place = &open_.back()->emplace_back();
    } else if (!open_.empty()) {
      place = field_;
    }
    *place = std::move(value);
    return place;
  }

  template <typename T>
  bool Add(T&& value) {
    Place(std::forward<T>(value));
    return true;
  }

  bool Open(json container) {
    if (open_.size() == kMaxJsonDepth) {
      refusal_ = fmt::format("nested deeper than {} levels", kMaxJsonDepth);
      return false;
    }
    open_.push_back(Place(std::move(container)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  JsonRules rules_;
  const std::map<size_t, double>& numbers_;
  size_t num_strings_ = 0;  // seen so far
  json document_;
  std::vector<json*> open_;  // containers from the root to the innermost; none grows but the last
  json* field_ = nullptr;    // where the value of the innermost object's last key goes
  std::string refusal_;
};

bool IsNotFinite(const json& value) {
  return value.is_number_float() && !std::isfinite(value.get<double>());
}

std::string NotFiniteText(const json& value) {
  const auto number = value.get<double>();
  return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
}

std::string Describe(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_string()) return fmt::format("\"{}\"", OneLine(value.get_ref<const std::string&>()));
  if (IsNotFinite(value)) return NotFiniteText(value);
  return value.dump();  // null, a boolean or a number
}

// What a field of C++ type T looks like in JSON.
template <typename T>
struct Kind;

template <>
struct Kind<int64_t> {
  static constexpr std::string_view kName = "an integer";
  static std::optional<int64_t> From(const json& value) {
    if (!value.is_number_integer()) return std::nullopt;
    const auto number = value.get<int64_t>();
    if (value.is_number_unsigned() && number < 0) return std::nullopt;  // above the top of int64
    return number;
  }
};

template <>
struct Kind<double> {
  static constexpr std::string_view kName = "a number";
  static std::optional<double> From(const json& value) {
    return value.is_number() && !IsNotFinite(value) ? std::optional(value.get<double>())
                                                    : std::nullopt;
  }
};

template <>
struct Kind<bool> {
  static constexpr std::string_view kName = "true or false";
  static std::optional<bool> From(const json& value) {
    return value.is_boolean() ? std::optional(value.get<bool>()) : std::nullopt;
  }
};

template <>
struct Kind<std::string> {
  static constexpr std::string_view kName = "a string";
  static std::optional<std::string> From(const json& value) {
    return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
  }
};

tl::unexpected<Error> WrongKind(std::string_view name, std::string_view kind, const json& value) {
  return InvalidData("{}: expected {}, got {}", name, kind, Describe(value));
}

template <typename T>
Result<T> Convert(const json& value, std::string_view name, Bounds<T> bounds) {
  std::optional<T> converted = Kind<T>::From(value);
  if (!converted) return WrongKind(name, Kind<T>::kName, value);
  if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, double>) {
    if (*converted < bounds.min || *converted > bounds.max) {
      return InvalidData("{}: {} is out of range, expected {} to {}", name, *converted, bounds.min,
                         bounds.max);
    }
  }
  return *std::move(converted);
}

}  // namespace

Result<json> ParseJson(std::string_view text, std::string_view source, JsonRules rules) {
  // The parser would take a zero byte for the end of the text.
  if (const size_t zero = text.find('\0'); zero != text.npos) {
    return InvalidData("{}: zero byte at offset {}", source, zero);
  }
  StandardJson standard;
  if (rules == JsonRules::kPython) standard = FromPythonJson(text);
  const std::string_view parsed = rules == JsonRules::kPython ? standard.text : text;
  DocumentBuilder builder(text, rules, standard.numbers);
  if (!json::sax_parse(parsed.begin(), parsed.end(), &builder)) {
    return InvalidData("{}: {}", source, builder.refusal());
  }
  return std::move(builder.document());
}

Result<JsonObject> JsonObject::Parse(std::string_view text, std::string_view source,
                                     JsonRules rules) {
  EXPERTILE_ASSIGN(json document, ParseJson(text, source, rules));
  if (!document.is_object()) return WrongKind(source, "an object", document);
  return JsonObject(std::make_shared<const json>(std::move(document)), fmt::format("{}: ", source));
}

Result<JsonObject> JsonObject::Read(const std::filesystem::path& file) {
  EXPERTILE_ASSIGN(const MappedFile mapped, MappedFile::Open(file));
  return Parse(mapped.text(), file.string(), JsonRules::kPython);
}

JsonObject JsonObject::Empty(std::string_view name) {
  return JsonObject(std::make_shared<const json>(json::object()), fmt::format("{}.", name));
}

const json* JsonObject::Find(std::string_view key) const {
  const auto& fields = object_->get_ref<const json::object_t&>();
  const auto field = fields.find(key);
  return field == fields.end() || field->second.is_null() ? nullptr : &field->second;
}

bool JsonObject::IsNull(std::string_view key) const {
  const auto& fields = object_->get_ref<const json::object_t&>();
  const auto field = fields.find(key);
  return field != fields.end() && field->second.is_null();
}

bool JsonObject::IsNumber(std::string_view key) const {
  const json* value = Find(key);
  return value != nullptr && value->is_number();
}

bool JsonObject::IsEmpty() const { return object_->empty(); }

Status JsonObject::RefuseNull(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) {
    if (IsNull(key)) return InvalidData("{}: null, expected a value", NameOf(key));
  }
  return {};
}

std::string JsonObject::TextOf(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr) return "null";
  if (IsNotFinite(*value)) return NotFiniteText(*value);
  return OneLine(value->dump(-1, ' ', false, json::error_handler_t::replace));
}

Status JsonObject::RefuseDisagreement(std::string_view key, const JsonObject& other,
                                      std::string_view other_key) const {
  const json* value = Find(key);
  const json* other_value = other.Find(other_key);
  if (value == nullptr || other_value == nullptr || *value == *other_value) return {};
  return InvalidData("{}: {}, but {}: {}: two names of one thing", NameOf(key), TextOf(key),
                     other.NameOf(other_key), other.TextOf(other_key));
}

std::string JsonObject::NameOf(std::string_view key) const { return prefix_ + OneLine(key); }

std::vector<std::string> JsonObject::Keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_->get_ref<const json::object_t&>()) {
    if (!value.is_null()) keys.push_back(key);
  }
  return keys;
}

template <typename T>
Result<T> JsonObject::Get(std::string_view key, std::optional<T> fallback, Bounds<T> bounds) const {
  if (const json* value = Find(key)) return Convert<T>(*value, NameOf(key), bounds);
  if (!fallback) return InvalidData("{}: missing", NameOf(key));
  return *std::move(fallback);
}

template <typename T>
Result<std::vector<T>> JsonObject::GetList(std::string_view key, Bounds<T> bounds) const {
  std::vector<T> list;
  const json* value = Find(key);
  if (value == nullptr) return list;
  if (!value->is_array()) return WrongKind(NameOf(key), "a list", *value);
  list.reserve(value->size());
  for (const json& element : *value) {
    const std::string name = fmt::format("{}[{}]", NameOf(key), list.size());
    EXPERTILE_ASSIGN(T converted, Convert<T>(element, name, bounds));
    list.push_back(std::move(converted));
  }
  return list;
}

Result<int64_t> JsonObject::GetInt(std::string_view key, std::optional<int64_t> fallback,
                                   Bounds<int64_t> bounds) const {
  return Get<int64_t>(key, fallback, bounds);
}

Result<double> JsonObject::GetFloat(std::string_view key, std::optional<double> fallback,
                                    Bounds<double> bounds) const {
  return Get<double>(key, fallback, bounds);
}

Result<bool> JsonObject::GetBool(std::string_view key, std::optional<bool> fallback) const {
  return Get<bool>(key, fallback);
}

Result<std::string> JsonObject::GetString(std::string_view key,
                                          std::optional<std::string> fallback) const {
  return Get<std::string>(key, std::move(fallback));
}

Result<JsonObject> JsonObject::GetObject(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr) return InvalidData("{}: missing", NameOf(key));
  if (!value->is_object()) return WrongKind(NameOf(key), "an object", *value);
  return JsonObject(std::shared_ptr<const json>(object_, value), NameOf(key) + ".");
}

Result<JsonObject> JsonObject::GetObjectOrEmpty(std::string_view key) const {
  if (!Has(key)) return Empty(NameOf(key));
  return GetObject(key);
}

Result<std::vector<JsonObject>> JsonObject::GetObjectList(std::string_view key) const {
  std::vector<JsonObject> objects;
  const json* list = Find(key);
  if (list == nullptr) return objects;
  if (!list->is_array()) return WrongKind(NameOf(key), "a list", *list);
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string name = NameOf(key) + "[" + std::to_string(i) + "]";
    const json& item = (*list)[i];
    if (!item.is_object()) return WrongKind(name, "an object", item);
    objects.push_back(JsonObject(std::shared_ptr<const json>(object_, &item), name + "."));
  }
  return objects;
}

Result<std::vector<int64_t>> JsonObject::GetIntList(std::string_view key,
                                                    Bounds<int64_t> bounds) const {
  return GetList<int64_t>(key, bounds);
}

Result<std::vector<double>> JsonObject::GetFloatList(std::string_view key,
                                                     Bounds<double> bounds) const {
  return GetList<double>(key, bounds);
}

Result<std::vector<std::string>> JsonObject::GetStringList(std::string_view key) const {
  return GetList<std::string>(key);
}

Result<std::vector<int64_t>> JsonObject::GetIntOrIntList(std::string_view key,
                                                         Bounds<int64_t> bounds) const {
  const json* value = Find(key);
  if (value == nullptr || value->is_array()) return GetList<int64_t>(key, bounds);
  EXPERTILE_ASSIGN(const int64_t number, Convert<int64_t>(*value, NameOf(key), bounds));
  return std::vector<int64_t>{number};
}

}  // namespace expertile
