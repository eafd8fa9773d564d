#include "compiling/option_fields.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"

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

constexpr Bounds<int64_t> kAnyInt = {};

Status Read(const JsonObject& object, const char* name, std::string& field) {
  EXPERTILE_ASSIGN(field, object.GetString(name));
  return {};
}
Status Read(const JsonObject& object, const char* name, bool& field) {
  EXPERTILE_ASSIGN(field, object.GetBool(name));
  return {};
}
Status Read(const JsonObject& object, const char* name, int& field) {
  EXPERTILE_ASSIGN(const int64_t value, object.GetInt(name));
  field = static_cast<int>(value);
  return {};
}
Status Read(const JsonObject& object, const char* name, int64_t& field) {
  EXPERTILE_ASSIGN(field, object.GetInt(name, kRequired, kAnyInt));
  return {};
}
template <typename T>
Status Read(const JsonObject& object, const char* name, std::optional<T>& field) {
  field.reset();
  if (!object.Has(name)) return {};
  T value{};
  EXPERTILE_RETURN_IF_ERROR(Read(object, name, value));
  field = value;
  return {};
}

}  // namespace

nlohmann::json OptionsToJson(const CompileOptions& options) {
  nlohmann::json object = nlohmann::json::object();
  VisitOptions(options, [&](const char* name, const auto& field) { object[name] = ToJson(field); });
  return object;
}

Result<CompileOptions> OptionsFromJson(const JsonObject& object) {
  CompileOptions options;
  Status status;
  VisitOptions(options, [&](const char* name, auto& field) {
    if (status) status = Read(object, name, field);
  });
  if (!status) return tl::unexpected(status.error());
  return options;
}

}  // namespace expertile
