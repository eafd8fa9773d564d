#include "jinja/string_literal.h"

#include <charconv>

#include "jinja/error.h"
#include "jinja/text.h"

namespace jinja {
namespace {

// The code point of `size` hexadecimal digits behind \x, \u or \U.
Result<char32_t> HexEscape(std::string_view digits, size_t size) {
  digits = digits.substr(0, size);
  uint32_t code_point = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, code_point, 16);
  if (digits.size() != size || result.ptr != end || result.ec != std::errc()) {
    return Invalid("a string escape without its {} hexadecimal digits", size);
  }
  if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff)) {
    return Invalid("the string escape {:x} is not a character", code_point);
  }
  return static_cast<char32_t>(code_point);
}

// Appends what the escape at `rest` (behind the backslash) stands for; returns its size.
Result<size_t> AppendEscape(std::string_view rest, std::string* text) {
  static constexpr std::string_view kLetters = "\\'\"abfnrtv";
  static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  if (const size_t letter = kLetters.find(rest[0]); letter != kLetters.npos) {
    *text += kMeanings[letter];
    return 1;
  }
  const size_t num_hex = rest[0] == 'x' ? 2 : rest[0] == 'u' ? 4 : rest[0] == 'U' ? 8 : 0;
  if (num_hex != 0) {
    JINJA_ASSIGN(const char32_t code_point, HexEscape(rest.substr(1), num_hex));
    AppendUtf8(code_point, text);
    return 1 + num_hex;
  }
  if (rest[0] == 'N') return Unsupported("the string escape \\N{{...}} is not supported");
  if (rest[0] == '\n') return 1;
  size_t num_octal = 0;
  char32_t code_point = 0;
  while (num_octal < 3 && num_octal < rest.size() && rest[num_octal] >= '0' &&
         rest[num_octal] <= '7') {
    code_point = code_point * 8 + static_cast<char32_t>(rest[num_octal++] - '0');
  }
  if (num_octal == 0) {
    *text += '\\';  // an unknown escape stays as it is
    return 0;
  }
  AppendUtf8(code_point, text);
  return num_octal;
}

}  // namespace

Result<std::string> UnescapeString(std::string_view body) {
  std::string text;
  for (size_t i = 0; i < body.size();) {
    if (body[i] != '\\' || i + 1 == body.size()) {
      text += body[i++];
      continue;
    }
    JINJA_ASSIGN(const size_t size, AppendEscape(body.substr(i + 1), &text));
    i += 1 + size;
  }
  return text;
}

std::string PythonQuoted(std::string_view text) {
  const bool has_single = text.find('\'') != text.npos;
  const char quote = has_single && text.find('"') == text.npos ? '"' : '\'';
  std::string quoted(1, quote);
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = DecodeAt(text, &offset);
    if (c == static_cast<char32_t>(quote) || c == U'\\') {
      quoted += '\\';
      quoted += static_cast<char>(c);
    } else if (c == U'\n') {
      quoted += "\\n";
    } else if (c == U'\r') {
      quoted += "\\r";
    } else if (c == U'\t') {
      quoted += "\\t";
    } else if (IsPrintable(c)) {
      AppendUtf8(c, &quoted);
    } else if (c < 0x100) {
      quoted += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      quoted += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      quoted += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  }
  return quoted + quote;
}

std::string JsonQuoted(std::string_view text, bool ensure_ascii) {
  static constexpr std::string_view kPlain = "\"\\\b\f\n\r\t";
  static constexpr std::string_view kLetters = "\"\\bfnrt";
  std::string quoted = "\"";
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = DecodeAt(text, &offset);
    const size_t letter = c < 0x80 ? kPlain.find(static_cast<char>(c)) : kPlain.npos;
    if (letter != kPlain.npos) {
      quoted += '\\';
      quoted += kLetters[letter];
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7f && c < 0x10000)) {
      quoted += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else if (ensure_ascii && c >= 0x10000) {
      const uint32_t pair = static_cast<uint32_t>(c) - 0x10000;
      quoted += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (pair >> 10), 0xdc00 + (pair & 0x3ff));
    } else {
      AppendUtf8(c, &quoted);
    }
  }
  return quoted + '"';
}

}  // namespace jinja
