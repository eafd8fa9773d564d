// Options that take a number: what is none, or out of bounds, is refused by name, value and bounds.
// Not compile options: those have a table (expertile/option_table.h).
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include "expertile/result.h"

namespace expertile::cli {

// What a real number may be; max = infinity means no bound.
struct RealBounds {
  double min = 0.0;
  double max = std::numeric_limits<double>::infinity();
  bool has_min = true;  // the bounds themselves are in
  bool has_max = true;
};

// The number that `text` is as a whole. Errors name `option`.
Result<int64_t> ParseInteger(const std::string& option, const std::string& text, int64_t min,
                             int64_t max);
Result<uint64_t> ParseSeed(const std::string& option, const std::string& text);
Result<double> ParseReal(const std::string& option, const std::string& text,
                         const RealBounds& bounds);

// Declares `names` ("--runs", "--max-new-tokens,-n"): `parse(name, text)` gives the value.
template <typename T, typename Parse>
CLI::Option* AddParsed(CLI::App& app, const std::string& names, T& value, const char* type,
                       const char* about, Parse parse) {
  const std::string name = names.substr(0, names.find(','));
  const CLI::callback_t read = [&value, name, parse](const CLI::results_t& texts) {
    const auto parsed = parse(name, texts.at(0));
    if (!parsed) throw CLI::ValidationError(parsed.error().message);
    if constexpr (std::is_arithmetic_v<T>) {
      value = static_cast<T>(*parsed);
    } else {
      value = static_cast<typename T::value_type>(*parsed);
    }
    return true;
  };
  CLI::Option* option = app.add_option(names, read, about)->type_name(type);
  if constexpr (std::is_arithmetic_v<T>) option->default_str(fmt::format("{}", value));
  return option;
}

// T is int, int64_t, or an optional of them.
template <typename T>
CLI::Option* AddInteger(CLI::App& app, const std::string& names, T& value, const char* about,
                        int64_t min, int64_t max = std::numeric_limits<int>::max()) {
  return AddParsed(app, names, value, "INT", about,
                   [min, max](const std::string& name, const std::string& text) {
                     return ParseInteger(name, text, min, max);
                   });
}

// T is float or double.
template <typename T>
CLI::Option* AddReal(CLI::App& app, const std::string& names, T& value, const char* about,
                     const RealBounds& bounds) {
  return AddParsed(app, names, value, "NUMBER", about,
                   [bounds](const std::string& name, const std::string& text) {
                     return ParseReal(name, text, bounds);
                   });
}

}  // namespace expertile::cli
