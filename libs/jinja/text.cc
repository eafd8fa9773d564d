#include "jinja/text.h"

#include <utf8proc.h>

#include <algorithm>

namespace jinja {
namespace {

int Category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

enum class Case { kUpper, kLower, kTitle };

void AppendCase(char32_t c, Case wanted, std::string* text) {
  if (c == U'ß' && wanted != Case::kLower) {
    *text += wanted == Case::kUpper ? "SS" : "Ss";
    return;
  }
  const auto point = static_cast<utf8proc_int32_t>(c);
  AppendUtf8(static_cast<char32_t>(wanted == Case::kUpper   ? utf8proc_toupper(point)
                                   : wanted == Case::kLower ? utf8proc_tolower(point)
                                                            : utf8proc_totitle(point)),
             text);
}

std::string WithCase(std::string_view text, Case wanted) {
  std::string result;
  for (size_t offset = 0; offset < text.size();) {
    AppendCase(DecodeAt(text, &offset), wanted, &result);
  }
  return result;
}

// Where the code point before `end` begins.
size_t StepBack(std::string_view text, size_t end) {
  do --end;
  while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return end;
}

// Bytes at the beginning (or the end) of `text` whose code points `holds` is true of.
template <typename Holds>
size_t SpanSize(std::string_view text, bool from_right, Holds holds) {
  size_t size = 0;
  while (size < text.size()) {
    size_t begin = from_right ? StepBack(text, text.size() - size) : size;
    const size_t before = begin;
    if (!holds(DecodeAt(text, &begin))) break;
    size = from_right ? text.size() - before : begin;
  }
  return size;
}

template <typename Drop>
std::string_view StripWhere(std::string_view text, StripEnds ends, Drop drop) {
  if ((ends & kLeftEnd) != 0) text.remove_prefix(SpanSize(text, false, drop));
  if ((ends & kRightEnd) != 0) text.remove_suffix(SpanSize(text, true, drop));
  return text;
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t offset = 0; offset < text.size();) {
    utf8proc_int32_t code_point = 0;
    const auto size = utf8proc_iterate(
        bytes + offset, static_cast<utf8proc_ssize_t>(text.size() - offset), &code_point);
    if (size <= 0) return false;
    offset += static_cast<size_t>(size);
  }
  return true;
}

char32_t DecodeAt(std::string_view text, size_t* offset) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[*offset + i]); };
  const unsigned char lead = byte(0);
  const size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t code_point = size == 1 ? lead : lead & (0xff >> (size + 1));
  for (size_t i = 1; i < size; ++i) code_point = (code_point << 6) | (byte(i) & 0x3f);
  *offset += size;
  return code_point;
}

void AppendUtf8(char32_t code_point, std::string* text) {
  utf8proc_uint8_t buffer[4];
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), buffer);
  text->append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(size));
}

size_t CountCodePoints(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

size_t OffsetOf(std::string_view text, size_t index) {
  size_t offset = 0;
  for (; index > 0 && offset < text.size(); --index) DecodeAt(text, &offset);
  return offset;
}

std::vector<std::string_view> SplitCodePoints(std::string_view text) {
  std::vector<std::string_view> parts;
  for (size_t offset = 0; offset < text.size();) {
    const size_t begin = offset;
    DecodeAt(text, &offset);
    parts.push_back(text.substr(begin, offset - begin));
  }
  return parts;
}

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

bool IsAlpha(char32_t c) {
  return Category(c) >= UTF8PROC_CATEGORY_LU && Category(c) <= UTF8PROC_CATEGORY_LO;
}

bool IsDigit(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }

bool IsWordCharacter(char32_t c) {
  return c == U'_' || IsAlpha(c) ||
         (Category(c) >= UTF8PROC_CATEGORY_ND && Category(c) <= UTF8PROC_CATEGORY_NO);
}

bool IsPrintable(char32_t c) {
  return c == U' ' || (Category(c) != UTF8PROC_CATEGORY_CN && Category(c) < UTF8PROC_CATEGORY_ZS);
}

bool IsUpper(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LU; }
bool IsLower(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LL; }

std::string_view Strip(std::string_view text, StripEnds ends) {
  return StripWhere(text, ends, IsSpace);
}

std::string_view Strip(std::string_view text, std::string_view characters, StripEnds ends) {
  std::u32string dropped;
  for (size_t offset = 0; offset < characters.size();) dropped += DecodeAt(characters, &offset);
  return StripWhere(text, ends, [&](char32_t c) { return dropped.find(c) != dropped.npos; });
}

std::string ToUpper(std::string_view text) { return WithCase(text, Case::kUpper); }
std::string ToLower(std::string_view text) { return WithCase(text, Case::kLower); }

std::string Capitalize(std::string_view text) {
  const size_t first = OffsetOf(text, 1);
  return WithCase(text.substr(0, first), Case::kTitle) + ToLower(text.substr(first));
}

std::string ToTitle(std::string_view text) {
  std::string result;
  bool in_word = false;
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = DecodeAt(text, &offset);
    AppendCase(c, in_word ? Case::kLower : Case::kTitle, &result);
    in_word = IsUpper(c) || IsLower(c) || Category(c) == UTF8PROC_CATEGORY_LT;
  }
  return result;
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t offset = 0; offset < text.size();) {
    const size_t end = offset;
    const char32_t c = DecodeAt(text, &offset);
    const bool ends_line = (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 ||
                           c == 0x2028 || c == 0x2029;
    if (!ends_line) continue;
    if (c == U'\r' && offset < text.size() && text[offset] == '\n') ++offset;
    lines.push_back(text.substr(begin, (keep_ends ? offset : end) - begin));
    begin = offset;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::vector<std::string_view> Split(std::string_view text, std::string_view separator,
                                    int64_t max_splits, bool from_right) {
  std::vector<std::string_view> parts;
  const StripEnds near_end = from_right ? kRightEnd : kLeftEnd;
  const auto is_word = [](char32_t c) { return !IsSpace(c); };
  if (separator.empty()) text = Strip(text, near_end);
  while (max_splits-- != 0 && (!separator.empty() || !text.empty())) {
    size_t place = from_right ? text.rfind(separator) : text.find(separator);
    if (separator.empty()) {
      const size_t size = SpanSize(text, from_right, is_word);
      place = from_right ? text.size() - size : size;
    }
    if (place == text.npos) break;
    const size_t behind = place + separator.size();
    parts.push_back(from_right ? text.substr(behind) : text.substr(0, place));
    text = from_right ? text.substr(0, place) : text.substr(behind);
    if (separator.empty()) text = Strip(text, near_end);
  }
  if (!separator.empty() || !text.empty()) parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace jinja
