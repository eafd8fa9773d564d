// What Python does to values: arithmetic, comparison, membership, iteration, subscripts
// (operators.cc); str() and repr(), JSON as json.dumps writes it, the % operator and str.format,
// numbers as Python reads them (value_text.cc). Not methods (functions.h).
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "jinja/environment.h"
#include "jinja/value.h"

namespace jinja {

// A failure, with its reason, for an undefined value.
void RefuseUndefined(const Value& value);

// left symbol right, of arithmetic (+ - * %; / // ** are not supported), comparison and membership.
// Integers beyond 64 bits are failures (Python has longer ones).
Value Operate(Environment& environment, std::string_view symbol, const Value& left,
              const Value& right);
Value Negate(const Value& value);

// ==. Never a failure but for limits.
bool Equals(Environment& environment, const Value& left, const Value& right);
// The order of numbers and of strings; a failure between other types. Unordered: NaN.
std::partial_ordering Order(Environment& environment, const Value& left, const Value& right);

// The elements in order: of sequences, the keys of dicts, the characters of strings. A generator
// gives its elements once.
List Iterate(const Value& value);
// len(), a failure where Python has none.
int64_t Length(const Value& value);

// object[key] as Jinja has it: the element, else the attribute of that name, else undefined.
Value GetItem(Environment& environment, const Value& object, const Value& key);
// object.name: the attribute (a method), else the element, else undefined.
Value GetAttribute(const Value& object, std::string_view name);
// object[start:stop:step]; none stands for what is left out.
Value Slice(Environment& environment, const Value& object, const Value& start, const Value& stop,
            const Value& step);

// What {{ value }} prints; the text of what is no data (a function, a generator) is a failure.
std::string ToText(Environment& environment, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // one level's white space; nullopt: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string ToJson(Environment& environment, const Value& value, const JsonStyle& style);

// & < > ' " as HTML entities.
std::string EscapeHtml(std::string_view text);

// int(text) and float(text): white space around, a sign; nullopt when Python would refuse it.
// Failures: what does not fit 64 bits, and underscores.
std::optional<int64_t> ParseInt(std::string_view text);
std::optional<double> ParseFloat(std::string_view text);

// format % values, one or a tuple: %s and %%, without flags, width and precision.
std::string FormatPercent(Environment& environment, std::string_view format, const Value& values);
// format.format(...): {} {0} {name} {name:d}, {{ and }}, without other specifications.
std::string FormatBraces(Environment& environment, std::string_view format,
                         const Arguments& arguments);

}  // namespace jinja
