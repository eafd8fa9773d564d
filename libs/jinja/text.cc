#include "jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

namespace jinja {
namespace {

constexpr auto kInvalid = static_cast<char32_t>(-1);  // of DecodeAt, for what is not UTF-8
constexpr std::string_view kTitleSharpS = "Ss";

const utf8proc_property_t& Properties(char32_t c) {
  return *utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
}
int Category(char32_t c) { return Properties(c).category; }

bool IsSpace(char32_t c) {
  const int direction = Properties(c).bidi_class;
  return Category(c) == UTF8PROC_CATEGORY_ZS || direction == UTF8PROC_BIDI_CLASS_WS ||
         direction == UTF8PROC_BIDI_CLASS_B || direction == UTF8PROC_BIDI_CLASS_S;
}

// `text` with each code point in upper or lower case, as `upper` says of it; `sharp_s` is that
// letter in upper case.
template <typename Upper>
std::string WithCase(std::string_view text, std::string_view sharp_s, Upper upper) {
  std::string result;
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = DecodeAt(text, &offset);
    const auto point = static_cast<utf8proc_int32_t>(c);
    const bool is_title = sharp_s == kTitleSharpS;
    if (!upper(c)) {
      AppendUtf8(static_cast<char32_t>(utf8proc_tolower(point)), &result);
    } else if (c == U'ß') {
      result += sharp_s;
    } else {
      const auto mapped = is_title ? utf8proc_totitle(point) : utf8proc_toupper(point);
      AppendUtf8(static_cast<char32_t>(mapped), &result);
    }
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
  for (size_t offset = 0; offset < text.size();) {
    if (DecodeAt(text, &offset) == kInvalid) return false;
  }
  return true;
}

char32_t DecodeAt(std::string_view text, size_t* offset) {
  const std::string_view rest = text.substr(*offset);
  utf8proc_int32_t code_point = 0;
  const auto size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(rest.data()),
                                     static_cast<utf8proc_ssize_t>(rest.size()), &code_point);
  *offset += size > 0 ? static_cast<size_t>(size) : rest.size();
  return size > 0 ? static_cast<char32_t>(code_point) : kInvalid;
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

bool IsWordCharacter(char32_t c) {
  return c == U'_' ||
         (Category(c) >= UTF8PROC_CATEGORY_LU && Category(c) <= UTF8PROC_CATEGORY_LO) ||
         (Category(c) >= UTF8PROC_CATEGORY_ND && Category(c) <= UTF8PROC_CATEGORY_NO);
}

bool IsPrintable(char32_t c) {
  return c == U' ' || (Category(c) != UTF8PROC_CATEGORY_CN && Category(c) < UTF8PROC_CATEGORY_ZS);
}

std::string_view Strip(std::string_view text, StripEnds ends) {
  return StripWhere(text, ends, IsSpace);
}

std::string_view Strip(std::string_view text, std::string_view characters, StripEnds ends) {
  std::u32string dropped;
  for (size_t offset = 0; offset < characters.size();) dropped += DecodeAt(characters, &offset);
  return StripWhere(text, ends, [&](char32_t c) { return dropped.find(c) != dropped.npos; });
}

std::string ToUpper(std::string_view text) {
  return WithCase(text, "SS", [](char32_t) { return true; });
}

std::string ToLower(std::string_view text) {
  return WithCase(text, "", [](char32_t) { return false; });
}

std::string Capitalize(std::string_view text) {
  return WithCase(text, kTitleSharpS,
                  [first = true](char32_t) mutable { return std::exchange(first, false); });
}

std::string ToTitle(std::string_view text) {
  return WithCase(text, kTitleSharpS, [in_word = false](char32_t c) mutable {
    const bool cased = Category(c) >= UTF8PROC_CATEGORY_LU && Category(c) <= UTF8PROC_CATEGORY_LT;
    return !std::exchange(in_word, cased);
  });
}

std::string TitleWords(std::string_view text) {
  return WithCase(text, "SS", [in_word = false](char32_t c) mutable {
    const bool begins =
        IsSpace(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) < 5);
    return !std::exchange(in_word, !begins);
  });
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t offset = 0; offset < text.size();) {
    const size_t end = offset;
    const char32_t c = DecodeAt(text, &offset);
    if (std::u32string_view(U"\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029").find(c) > 9) continue;
    if (c == U'\r' && offset < text.size() && text[offset] == '\n') ++offset;
    lines.push_back(text.substr(begin, end - begin));
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
