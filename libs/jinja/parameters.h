// A call's arguments laid onto a native function's parameters, by position and by name, with
// checked access. Not for macros: the interpreter binds those.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/error.h"
#include "jinja/value.h"

namespace jinja {

class Parameters {
 public:
  // The first `num_required` parameters must be given; too many or unknown arguments are errors
  // that name `function`.
  static Result<Parameters> Bind(std::string_view function,
                                 std::initializer_list<std::string_view> names, size_t num_required,
                                 const Arguments& arguments);

  bool Has(size_t i) const { return values_[i].has_value(); }
  // Given, and not none.
  bool HasValue(size_t i) const { return Has(i) && !values_[i]->is_none(); }
  const Value& operator[](size_t i) const { return *values_[i]; }
  Value Get(size_t i, const Value& fallback) const { return Has(i) ? *values_[i] : fallback; }
  bool Truth(size_t i, bool fallback) const { return Has(i) ? values_[i]->Truth() : fallback; }
  // Errors when the argument is of another type.
  Result<int64_t> Integer(size_t i, int64_t fallback) const;
  Result<std::string> Text(size_t i, std::string_view fallback) const;

 private:
  std::string function_;
  std::vector<std::string> names_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace jinja
