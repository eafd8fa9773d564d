#include "jinja/parameters.h"

#include <algorithm>

#include "jinja/error.h"

namespace jinja {

Result<Parameters> Parameters::Bind(std::string_view function,
                                    std::initializer_list<std::string_view> names,
                                    size_t num_required, const Arguments& arguments) {
  Parameters bound;
  bound.function_ = function;
  bound.names_.assign(names.begin(), names.end());
  bound.values_.resize(names.size());
  if (arguments.positional.size() > names.size()) {
    return Invalid("{}() takes at most {} arguments, got {}", function, names.size(),
                   arguments.positional.size());
  }
  std::copy(arguments.positional.begin(), arguments.positional.end(), bound.values_.begin());
  for (const auto& [name, value] : arguments.keyword) {
    const auto place = std::find(names.begin(), names.end(), name);
    if (place == names.end()) return Invalid("{}() has no parameter '{}'", function, name);
    auto& slot = bound.values_[static_cast<size_t>(place - names.begin())];
    if (slot) return Invalid("{}() got '{}' twice", function, name);
    slot = value;
  }
  for (size_t i = 0; i < num_required; ++i) {
    if (!bound.Has(i)) return Invalid("{}() misses '{}'", function, bound.names_[i]);
  }
  return bound;
}

Result<int64_t> Parameters::Integer(size_t i, int64_t fallback) const {
  if (!Has(i)) return fallback;
  if (values_[i]->is_integral()) return values_[i]->integer();
  return Invalid("{}(): '{}' must be an integer, not '{}'", function_, names_[i],
                 values_[i]->type_name());
}

Result<std::string> Parameters::Text(size_t i, std::string_view fallback) const {
  if (!Has(i)) return std::string(fallback);
  if (values_[i]->is_string()) return values_[i]->string();
  return Invalid("{}(): '{}' must be a string, not '{}'", function_, names_[i],
                 values_[i]->type_name());
}

}  // namespace jinja
