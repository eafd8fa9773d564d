// The text forms of values: str() and repr() as Python has them, and JSON as json.dumps writes it.
// Every form is bounded by the environment's limits. Not formatting (format.h).
#pragma once

#include <optional>
#include <string>

#include "jinja/environment.h"
#include "jinja/value.h"

namespace jinja {

// What {{ value }} prints; a generator's or a function's text is a failure (Python prints an
// address).
std::string ToText(Environment& environment, const Value& value);
std::string ToRepr(Environment& environment, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level's white space; nullopt: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string ToJson(Environment& environment, const Value& value, const JsonStyle& style);

// & < > ' " as HTML entities.
std::string EscapeHtml(std::string_view text);

}  // namespace jinja
