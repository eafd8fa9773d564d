// Numbers as Python writes and reads them. Not number formatting by a template's format string
// (format.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace jinja {

// repr(float): the shortest text that reads back as the same number, always with a point or an
// exponent.
std::string FloatText(double value);

// int(text) and float(text): white space around, a sign, underscores between digits. Empty when
// Python would refuse it or it does not fit.
std::optional<int64_t> ParseInt(std::string_view text);
std::optional<double> ParseFloat(std::string_view text);

}  // namespace jinja
