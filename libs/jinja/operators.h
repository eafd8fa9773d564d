// What Python's operators do to values: arithmetic, comparison, membership, iteration, subscripts.
// Not methods (methods.h), and not text forms (value_text.h).
#pragma once

#include <compare>
#include <optional>
#include <string_view>

#include "jinja/error.h"
#include "jinja/value.h"

namespace jinja {

enum class ArithmeticOperator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};
enum class CompareOperator {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

// Integers beyond 64 bits are errors (Python has longer ones).
Result<Value> Arithmetic(Environment& environment, ArithmeticOperator op, const Value& left,
                         const Value& right);
Result<Value> Negate(const Value& value);

// ==. Never an error but for limits.
Result<bool> Equals(Environment& environment, const Value& left, const Value& right);
// The order of numbers, strings, lists and tuples; an error between other types. Unordered: NaN.
Result<std::partial_ordering> Order(Environment& environment, const Value& left,
                                    const Value& right);
Result<bool> Contains(Environment& environment, const Value& container, const Value& item);
Result<bool> Compare(Environment& environment, CompareOperator op, const Value& left,
                     const Value& right);

// The elements in order: of sequences, the keys of dicts, the characters of strings. A generator
// gives its elements once.
Result<List> Iterate(const Value& value);
// len(), an error where Python has none.
Result<int64_t> Length(const Value& value);

// object[key] as Jinja has it: the element, else the attribute of that name, else undefined.
Result<Value> GetItem(Environment& environment, const Value& object, const Value& key);
// object.name: the attribute (a method), else the element, else undefined. Not for loops.
Result<Value> GetAttribute(const Value& object, std::string_view name);
// object[start:stop:step]; none stands for what is left out.
Result<Value> Slice(Environment& environment, const Value& object, const Value& start,
                    const Value& stop, const Value& step);

// Where an index lies in `size` elements, counted from the end when negative; nullopt outside.
std::optional<size_t> ResolveIndex(int64_t index, size_t size);

}  // namespace jinja
