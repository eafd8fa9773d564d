// The filters of a chat template's environment, `value | name(arguments)`, by name. tojson is the
// one of transformers: plain json.dumps, not HTML-safe. Not the tests behind `is` (predicates.h).
#pragma once

#include <span>
#include <string_view>

#include "jinja/value.h"

namespace jinja {

struct FilterRow {
  std::string_view name;
  NativeFunction apply;  // self is the filtered value
};

// Null when there is no such filter.
const FilterRow* FindFilter(std::string_view name);

// The two parts of the table: filters of single values, and filters of sequences.
extern const std::span<const FilterRow> kScalarFilters;
extern const std::span<const FilterRow> kSequenceFilters;

}  // namespace jinja
