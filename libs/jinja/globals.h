// The functions that every chat template sees: range, dict, namespace, raise_exception,
// strftime_now. Not filters (filters.h) or methods (methods.h).
#pragma once

#include <span>
#include <string_view>

#include "jinja/value.h"

namespace jinja {

struct GlobalRow {
  std::string_view name;
  NativeFunction function;
};

// raise_exception fails with ErrorKind::kRaised and its message alone.
std::span<const GlobalRow> Globals();

}  // namespace jinja
