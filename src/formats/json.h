// Strict JSON for files that we did not write: parsing with bounds, and typed access to an object's
// fields with errors that name the file and the field. Not a writer, and not a schema language.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/result.h"

namespace expertile {

inline constexpr size_t kMaxJsonDepth = 256;

// What counts as JSON.
enum class JsonRules {
  kStrict,  // RFC 8259, and no object has the same key twice
  // As Python's json module reads: also NaN, Infinity, -Infinity and numbers beyond a double's
  // range (which become infinite); the last of two equal keys counts; half a surrogate pair becomes
  // U+FFFD.
  kPython,
};

// Parses one JSON document. Refuses nesting deeper than kMaxJsonDepth, whatever the rules. Errors:
// "config.json: line 3, column 7: malformed JSON near `}`"; `source` is whatever names the text to
// the user.
Result<nlohmann::json> ParseJson(std::string_view text, std::string_view source,
                                 JsonRules rules = JsonRules::kStrict);

// Both ends belong to the range.
template <typename T>
struct Bounds {
  T min = std::numeric_limits<T>::lowest();
  T max = std::numeric_limits<T>::max();
};

// The default bounds of integers: what an int can hold.
inline constexpr Bounds<int64_t> kIntBounds = {std::numeric_limits<int>::min(),
                                               std::numeric_limits<int>::max()};

// In the place of a default: a field that must be there.
inline constexpr std::nullopt_t kRequired = std::nullopt;

// A JSON object whose fields are read by name and type; it keeps its document alive. A field that
// is null counts as absent, but for IsNull() and RefuseNull(). Numbers that are not finite are
// refused where they are read. Every getter returns the field, or `fallback` where it is absent, or
// an error:
//   config.json: num_experts: missing
//   config.json: text_config.num_experts: expected an integer, got "abc"
//   config.json: num_experts: 0 is out of range, expected 1 to 4096
class JsonObject {
 public:
  // Parses a document that must be an object.
  static Result<JsonObject> Parse(std::string_view text, std::string_view source,
                                  JsonRules rules = JsonRules::kStrict);
  // A model's small files are written by Python, and read as it reads them.
  static Result<JsonObject> Read(const std::filesystem::path& file);
  // An object without fields; `name` stands before theirs in messages.
  static JsonObject Empty(std::string_view name);

  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  bool IsNull(std::string_view key) const;  // there, and null
  bool IsNumber(std::string_view key) const;
  bool IsEmpty() const;  // not even a field that is null
  // Refuses the first of `keys` that is null: "config.json: hidden_size: null, expected a value".
  Status RefuseNull(std::initializer_list<std::string_view> keys) const;
  // Refuses two fields, of this object and `other`, that name one thing, are both there and differ:
  // "config.json: num_experts: 8, but config.json: num_local_experts: 4: two names of one thing".
  Status RefuseDisagreement(std::string_view key, const JsonObject& other,
                            std::string_view other_key) const;
  // A field's value as a message shows it, on one line, cut where it is long.
  std::string TextOf(std::string_view key) const;
  // The name of a field in messages: "config.json: text_config.num_experts".
  std::string NameOf(std::string_view key) const;
  std::vector<std::string> Keys() const;  // of the fields that are not null, in byte order

  // 8.0 is not an integer.
  Result<int64_t> GetInt(std::string_view key, std::optional<int64_t> fallback = kRequired,
                         Bounds<int64_t> bounds = kIntBounds) const;
  // Any number: 10000 is as good as 10000.0.
  Result<double> GetFloat(std::string_view key, std::optional<double> fallback = kRequired,
                          Bounds<double> bounds = {}) const;
  Result<bool> GetBool(std::string_view key, std::optional<bool> fallback = kRequired) const;
  Result<std::string> GetString(std::string_view key,
                                std::optional<std::string> fallback = kRequired) const;
  // An object inside this one; must be there (ask Has() first if it need not be).
  Result<JsonObject> GetObject(std::string_view key) const;
  // The same, or one without fields where the field is absent.
  Result<JsonObject> GetObjectOrEmpty(std::string_view key) const;

  // A list of objects; empty where the field is absent.
  Result<std::vector<JsonObject>> GetObjectList(std::string_view key) const;

  // Lists of one type; empty where the field is absent. `bounds` holds for every element.
  Result<std::vector<int64_t>> GetIntList(std::string_view key,
                                          Bounds<int64_t> bounds = kIntBounds) const;
  Result<std::vector<double>> GetFloatList(std::string_view key, Bounds<double> bounds = {}) const;
  Result<std::vector<std::string>> GetStringList(std::string_view key) const;
  // The same from either form that Hugging Face writes, a list or one integer (eos_token_id).
  Result<std::vector<int64_t>> GetIntOrIntList(std::string_view key,
                                               Bounds<int64_t> bounds = kIntBounds) const;

 private:
  JsonObject(std::shared_ptr<const nlohmann::json> object, std::string prefix)
      : object_(std::move(object)), prefix_(std::move(prefix)) {}

  const nlohmann::json* Find(std::string_view key) const;

  template <typename T>
  Result<T> Get(std::string_view key, std::optional<T> fallback, Bounds<T> bounds = {}) const;
  template <typename T>
  Result<std::vector<T>> GetList(std::string_view key, Bounds<T> bounds = {}) const;

  std::shared_ptr<const nlohmann::json> object_;
  std::string prefix_;  // of a field's name in messages: "config.json: text_config."
};

}  // namespace expertile
