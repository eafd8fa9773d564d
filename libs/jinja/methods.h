// The methods of strings, lists, tuples and dicts that a sandboxed template may call, and the
// attributes of namespaces. Not the attributes of `loop` (interpreter.h).
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "jinja/value.h"

namespace jinja {

// The attribute `name` of `object` as Python's getattr finds it: a bound method; undefined where
// the sandbox refuses one that changes its object; nullopt where there is none.
std::optional<Value> FindAttribute(const Value& object, std::string_view name);

struct MethodRow {
  std::string_view name;
  NativeFunction function;  // null: exists in Python, is not supported here
};

extern const std::span<const MethodRow> kStringMethods;

}  // namespace jinja
