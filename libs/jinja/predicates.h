// Jinja's tests, `value is name(arguments)`, by name. Called predicates here, so as not to be
// mistaken for the tests of this code. Not the comparison operators (operators.h).
#pragma once

#include <string_view>

#include "jinja/value.h"

namespace jinja {

struct PredicateRow {
  std::string_view name;
  NativeFunction apply;  // self is the tested value; the result is taken for its truth
};

// Null when there is no such test.
const PredicateRow* FindPredicate(std::string_view name);

}  // namespace jinja
