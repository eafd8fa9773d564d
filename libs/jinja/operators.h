// What Python's operators do to values: arithmetic, comparison, membership, iteration, subscripts.
// Not methods (functions.h), and not text forms (value_text.h).
#pragma once

#include <compare>
#include <string_view>

#include "jinja/environment.h"
#include "jinja/value.h"

namespace jinja {

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,       // not supported
  kFloorDivide,  // not supported
  kModulo,
  kPower,  // not supported
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

// Integers beyond 64 bits are failures (Python has longer ones).
Value Arithmetic(Environment& environment, Operator op, const Value& left, const Value& right);
Value Negate(const Value& value);

// ==. Never a failure but for limits.
bool Equals(Environment& environment, const Value& left, const Value& right);
// The order of numbers, strings, lists and tuples; a failure between other types. Unordered: NaN.
std::partial_ordering Order(Environment& environment, const Value& left, const Value& right);
bool Compare(Environment& environment, Operator op, const Value& left, const Value& right);

// The elements in order: of sequences, the keys of dicts, the characters of strings. A generator
// gives its elements once.
List Iterate(const Value& value);
// len(), a failure where Python has none.
int64_t Length(const Value& value);

// object[key] as Jinja has it: the element, else the attribute of that name, else undefined.
Value GetItem(Environment& environment, const Value& object, const Value& key);
// object.name: the attribute (a method), else the element, else undefined. Not for loops.
Value GetAttribute(const Value& object, std::string_view name);
// object[start:stop:step]; none stands for what is left out.
Value Slice(Environment& environment, const Value& object, const Value& start, const Value& stop,
            const Value& step);
// str.replace: at most `count` times unless that is negative. An empty `from` stands between all
// characters.
std::string Replace(Environment& environment, std::string_view text, std::string_view from,
                    std::string_view to, int64_t count);

}  // namespace jinja
