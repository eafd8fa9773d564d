#include "formats/python_json.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

namespace expertile {
namespace {

constexpr size_t kEscapeSize = 6;  // \uXXXX

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// What RFC 8259 calls a number, all of `text`.
bool IsNumber(std::string_view text) {
  size_t i = 0;
  const auto take = [&](char c) { return i < text.size() && text[i] == c ? ++i > 0 : false; };
  const auto digits = [&] {
    const size_t begin = i;
    while (i < text.size() && IsDigit(text[i])) ++i;
    return i > begin;
  };
  take('-');
  if (!take('0') && !digits()) return false;
  if (take('.') && !digits()) return false;
  if (take('e') || take('E')) {
    if (!take('+')) take('-');
    if (!digits()) return false;
  }
  return i == text.size();
}

// The value of a token that no standard parser takes for a number.
std::optional<double> PythonNumber(const std::string& token) {
  if (token == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (token == "Infinity") return std::numeric_limits<double>::infinity();
  if (token == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (!IsNumber(token)) return std::nullopt;
  const double value = std::strtod(token.c_str(), nullptr);
  return std::isinf(value) ? std::optional(value) : std::nullopt;
}

// The code unit that \uXXXX at `at` stands for.
std::optional<unsigned> CodeUnitAt(std::string_view text, size_t at) {
  if (at + kEscapeSize > text.size() || text[at] != '\\' || text[at + 1] != 'u') {
    return std::nullopt;
  }
  unsigned unit = 0;
  for (const char c : text.substr(at + 2, 4)) {
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return std::nullopt;
    unit = unit * 16 + static_cast<unsigned>(IsDigit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return unit;
}

bool IsHighSurrogate(unsigned unit) { return unit >= 0xd800 && unit < 0xdc00; }
bool IsLowSurrogate(unsigned unit) { return unit >= 0xdc00 && unit < 0xe000; }

// Mends the escape at `at`, a backslash; returns where the string goes on.
size_t MendEscape(std::string& text, size_t at) {
  const std::optional<unsigned> unit = CodeUnitAt(text, at);
  if (!unit) return at + 2;
  if (IsHighSurrogate(*unit)) {
    const std::optional<unsigned> next = CodeUnitAt(text, at + kEscapeSize);
    if (next && IsLowSurrogate(*next)) return at + 2 * kEscapeSize;
  }
  if (IsHighSurrogate(*unit) || IsLowSurrogate(*unit)) text.replace(at + 2, 4, "fffd");
  return at + kEscapeSize;
}

// From behind a string's opening quote to behind its closing one.
size_t MendString(std::string& text, size_t at) {
  while (at < text.size() && text[at] != '"') {
    at = text[at] == '\\' ? MendEscape(text, at) : at + 1;
  }
  return at + 1;
}

bool IsOfToken(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '+' || c == '.';
}

}  // namespace

StandardJson FromPythonJson(std::string_view text) {
  StandardJson standard{std::string(text), {}};
  std::string& mended = standard.text;
  size_t num_strings = 0;
  for (size_t at = 0; at < mended.size();) {
    if (mended[at] == '"') {
      ++num_strings;
      at = MendString(mended, at + 1);
      continue;
    }
    size_t end = at;
    while (end < mended.size() && IsOfToken(mended[end])) ++end;
    if (end - at >= 3) {  // NaN is the shortest token that is replaced
      if (const auto value = PythonNumber(mended.substr(at, end - at))) {
        mended.replace(at, end - at, "\"\"" + std::string(end - at - 2, ' '));
        standard.numbers.emplace(num_strings++, *value);
      }
    }
    at = std::max(end, at + 1);
  }
  return standard;
}

}  // namespace expertile
