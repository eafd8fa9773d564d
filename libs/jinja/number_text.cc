#include "jinja/number_text.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "jinja/text.h"

namespace jinja {
namespace {

// `text` as from_chars takes it: without white space around, a plus, and underscores between
// digits; empty where Python would refuse it.
std::string PlainNumber(std::string_view text) {
  text = Strip(text, kBothEnds);
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool inside = i > 0 && i + 1 < text.size() && text[i - 1] != '_' && text[i - 1] != '-';
    if (text[i] == '(' || (text[i] == '_' && !inside)) return "";  // from_chars takes nan(...)
    if (text[i] != '_') digits += text[i];
  }
  return digits;
}

}  // namespace

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  const double size = std::fabs(value);
  char buffer[64];
  const auto form = size != 0 && (size < 1e-4 || size >= 1e16) ? std::chars_format::scientific
                                                               : std::chars_format::fixed;
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, form).ptr);
  if (text.find_first_of(".e") == text.npos) text += ".0";
  return text;
}

std::optional<int64_t> ParseInt(std::string_view text) {
  const std::string digits = PlainNumber(text);
  int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, value);
  if (digits.empty() || result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

std::optional<double> ParseFloat(std::string_view text) {
  const std::string digits = PlainNumber(text);
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, value);
  if (digits.empty() || result.ptr != end || result.ec == std::errc::invalid_argument) return {};
  if (result.ec == std::errc::result_out_of_range) {
    const bool tiny = digits.find("e-") != digits.npos || digits.find("E-") != digits.npos;
    value = tiny ? 0.0 : std::numeric_limits<double>::infinity();
    if (digits[0] == '-') value = -value;
  }
  return value;
}

}  // namespace jinja
