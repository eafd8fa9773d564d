// One value of a JSON document that somebody handed in, with its name for errors: checked access
// that keeps the order of keys. Not for checkpoints' files: formats/json.h.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "expertile/result.h"

namespace expertile {

// A JSON document in the order in which it is written, nested at most kMaxJsonDepth deep.
Result<nlohmann::ordered_json> ParseOrderedJson(std::string_view text, std::string_view source);

class JsonField {
 public:
  using Json = nlohmann::ordered_json;

  // `value` outlives the field.
  JsonField(const Json& value, std::string name) : value_(&value), name_(std::move(name)) {}

  const Json& value() const { return *value_; }
  const std::string& name() const { return name_; }
  bool is_null() const { return value_->is_null(); }

  // A member or element; null where there is none.
  JsonField operator[](std::string_view key) const;
  JsonField operator[](size_t index) const;

  // Errors when the value is of another type.
  Status CheckObject() const;
  Status CheckArray() const;
  Result<std::string> String() const;
  Result<int64_t> Integer() const;
  Result<double> Number() const;
  // An empty string where there is none.
  Result<std::string> StringOrNothing() const;

  // "NAME: a list of 3, expected WHAT".
  tl::unexpected<Error> Expected(std::string_view what) const;

 private:
  const Json* value_;
  std::string name_;
};

}  // namespace expertile
