// The text forms of values: str() and repr() as Python has them, JSON as json.dumps writes it, the
// % operator and str.format, and numbers as Python reads them. Bounded by the environment's limits.
// Not strftime (functions.cc).
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

// repr(float): the shortest text that reads back as the same number, always with a point or an
// exponent.
std::string FloatText(double value);
// int(text) and float(text): white space around, a sign, underscores between digits. Empty when
// Python would refuse it or it does not fit.
std::optional<int64_t> ParseInt(std::string_view text);
std::optional<double> ParseFloat(std::string_view text);

// format % values: %s %r %d %i %f %%, with the flags - and 0, width and precision; one value or a
// tuple.
std::string FormatPercent(Environment& environment, std::string_view format, const Value& values);
// format.format(...): {} {0} {name} {name:d}, {{ and }}, without other specifications.
std::string FormatBraces(Environment& environment, std::string_view format,
                         const Arguments& arguments);

}  // namespace jinja
