// Hostile configuration files: every field read as every type, as model/families/ do.
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "formats/json.h"

namespace expertile {
namespace {

template <typename T>
void Check(const Result<T>& result) {
  if (!result && result.error().message.find('\n') != std::string::npos) __builtin_trap();
}

void ReadAllFields(const JsonObject& object, int depth) {
  for (const std::string& key : object.Keys()) {
    if (!object.Has(key)) __builtin_trap();
    const auto bounded = object.GetInt(key, 1, {1, 4096});
    if (bounded && (*bounded < 1 || *bounded > 4096)) __builtin_trap();
    Check(bounded);
    Check(object.GetInt(key, kRequired, {INT64_MIN, INT64_MAX}));
    const auto number = object.GetFloat(key);
    if (number && !std::isfinite(*number)) __builtin_trap();
    Check(number);
    Check(object.RefuseNull({key}));
    Check(object.RefuseDisagreement(key, object, "num_experts"));
    if (object.TextOf(key).find('\n') != std::string::npos) __builtin_trap();
    Check(object.GetBool(key, false));
    Check(object.GetString(key, "silu"));
    Check(object.GetIntList(key));
    Check(object.GetIntOrIntList(key));
    Check(object.GetFloatList(key, {0, 1}));
    Check(object.GetStringList(key));
    const auto inner = object.GetObject(key);
    Check(inner);
    if (inner && depth < 3) ReadAllFields(*inner, depth + 1);
  }
  Check(object.GetInt("num_experts"));
}

}  // namespace
}  // namespace expertile

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace expertile;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto strict = ParseJson(text, "config.json");
  const auto python = ParseJson(text, "config.json", JsonRules::kPython);
  Check(strict);
  Check(python);
  if (strict && (!python || *strict != *python)) __builtin_trap();
  for (const JsonRules rules : {JsonRules::kStrict, JsonRules::kPython}) {
    const auto object = JsonObject::Parse(text, "config.json", rules);
    if (object) ReadAllFields(*object, 0);
  }
  return 0;
}
