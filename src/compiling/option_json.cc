#include "compiling/option_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "compiling/target_table.h"
#include "expertile/option_table.h"

namespace expertile {
namespace {

template <typename T>
nlohmann::json ToJson(const T& value) {
  return value;
}
template <typename T>
nlohmann::json ToJson(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

nlohmann::json ToJson(const OptionRow& row, const CompileOptions& options) {
  return VisitOption(row, options, [](const auto& field) { return ToJson(field); });
}

constexpr Bounds<int64_t> kAnyInt = {};

Status Read(const JsonObject& object, std::string_view name, std::string& field) {
  EXPERTILE_ASSIGN(field, object.GetString(name));
  return {};
}
Status Read(const JsonObject& object, std::string_view name, std::vector<std::string>& field) {
  EXPERTILE_ASSIGN(field, object.GetStringList(name));
  return {};
}
Status Read(const JsonObject& object, std::string_view name, bool& field) {
  EXPERTILE_ASSIGN(field, object.GetBool(name));
  return {};
}
Status Read(const JsonObject& object, std::string_view name, int& field) {
  EXPERTILE_ASSIGN(const int64_t value, object.GetInt(name));
  field = static_cast<int>(value);
  return {};
}
Status Read(const JsonObject& object, std::string_view name, int64_t& field) {
  EXPERTILE_ASSIGN(field, object.GetInt(name, kRequired, kAnyInt));
  return {};
}
template <typename T>
Status Read(const JsonObject& object, std::string_view name, std::optional<T>& field) {
  field.reset();
  if (!object.Has(name)) return {};
  T value{};
  EXPERTILE_RETURN_IF_ERROR(Read(object, name, value));
  field = value;
  return {};
}

bool IsInJson(const OptionRow& row) {
  return row.fingerprinted == Fingerprinted::kAlways ||
         row.fingerprinted == Fingerprinted::kUnlessDefault;
}

}  // namespace

nlohmann::json OptionsToJson(const CompileOptions& given) {
  CompileOptions options = given;
  options.dtype = NameOf(ArithmeticOf(options));
  nlohmann::json object = nlohmann::json::object();
  for (const OptionRow& row : OptionTable()) {
    const bool is_left_out =
        row.fingerprinted == Fingerprinted::kUnlessDefault && IsDefault(row, options);
    if (IsInJson(row) && !is_left_out) object[std::string(row.name)] = ToJson(row, options);
  }
  return object;
}

Result<CompileOptions> OptionsFromJson(const JsonObject& object) {
  for (const std::string& key : object.Keys()) {
    const OptionRow* row = FindOption(key);
    if (row == nullptr || !IsInJson(*row)) {
      return Unsupported("option {}: this version does not know it", OneLine(key));
    }
  }
  CompileOptions options;
  for (const OptionRow& row : OptionTable()) {
    const bool may_be_missing = row.fingerprinted != Fingerprinted::kAlways;
    if (may_be_missing && !object.Has(row.name)) continue;
    EXPERTILE_RETURN_IF_ERROR(
        VisitOption(row, options, [&](auto& field) { return Read(object, row.name, field); }));
  }
  return options;
}

CompileOptions OptionsHonouredBy(const TargetRow& target, CompileOptions options) {
  for (const OptionRow& row : OptionTable()) {
    if (!Honours(target, row.group)) SetDefault(row, options);
  }
  return options;
}

nlohmann::json OptionsBeyond(const TargetRow& target, const CompileOptions& options) {
  nlohmann::json object = nlohmann::json::object();
  for (const OptionRow& row : OptionTable()) {
    if (row.fingerprinted == Fingerprinted::kUnlessDefault && !Honours(target, row.group) &&
        !IsDefault(row, options)) {
      object[std::string(row.name)] = ToJson(row, options);
    }
  }
  return object;
}

}  // namespace expertile
