#include "jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

namespace jinja {
namespace {

constexpr auto kInvalid = static_cast<char32_t>(-1);  // of DecodeAt, for what is not UTF-8
const utf8proc_property_t& Properties(char32_t c) {
  return *utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
}
int Category(char32_t c) { return Properties(c).category; }

bool IsSpace(char32_t c) {
  const int direction = Properties(c).bidi_class;
  return Category(c) == UTF8PROC_CATEGORY_ZS || direction == UTF8PROC_BIDI_CLASS_WS ||
         direction == UTF8PROC_BIDI_CLASS_B || direction == UTF8PROC_BIDI_CLASS_S;
}

using CaseMap = utf8proc_int32_t (*)(utf8proc_int32_t);

// `text` with each code point that `is_upper` chooses in upper case as `upper` has it (and the
// German sharp s as `sharp_s`), the others in lower case.
template <typename IsUpper>
std::string WithCase(std::string_view text, CaseMap upper, std::string_view sharp_s,
                     IsUpper is_upper) {
  std::string result;
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = DecodeAt(text, &offset);
    const bool raised = is_upper(c);
    const auto mapped = (raised ? upper : utf8proc_tolower)(static_cast<utf8proc_int32_t>(c));
    if (raised && c == U'ß') {
      result += sharp_s;
    } else {
      AppendUtf8(static_cast<char32_t>(mapped), &result);
    }
  }
  return result;
}

template <typename Drop>
std::string_view StripWhere(std::string_view text, StripEnds ends, Drop drop) {
  size_t begin = 0;
  size_t behind = 0;
  while ((ends & kLeftEnd) != 0 && begin < text.size() && drop(DecodeAt(text, &behind))) {
    begin = behind;
  }
  text.remove_prefix(begin);
  while ((ends & kRightEnd) != 0 && !text.empty()) {
    size_t last = text.size() - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;  // of one character
    size_t offset = last;
    if (!drop(DecodeAt(text, &offset))) break;
    text = text.substr(0, last);
  }
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
  return WithCase(text, utf8proc_toupper, "SS", [](char32_t) { return true; });
}

std::string ToLower(std::string_view text) {
  return WithCase(text, utf8proc_tolower, "", [](char32_t) { return false; });
}

std::string Capitalize(std::string_view text) {
  return WithCase(text, utf8proc_totitle, "Ss",
                  [first = true](char32_t) mutable { return std::exchange(first, false); });
}

std::string ToTitle(std::string_view text) {
  return WithCase(text, utf8proc_totitle, "Ss", [in_word = false](char32_t c) mutable {
    const bool cased = Category(c) >= UTF8PROC_CATEGORY_LU && Category(c) <= UTF8PROC_CATEGORY_LT;
    return !std::exchange(in_word, cased);
  });
}

std::string TitleWords(std::string_view text) {
  return WithCase(text, utf8proc_toupper, "SS", [in_word = false](char32_t c) mutable {
    const bool begins =
        IsSpace(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) < 5);
    return !std::exchange(in_word, !begins);
  });
}

std::vector<std::string_view> Split(std::string_view text, std::string_view separator,
                                    int64_t max_splits) {
  std::vector<std::string_view> parts;
  const bool by_space = separator.empty();
  const auto in_word = [](char32_t c) { return !IsSpace(c); };
  if (by_space) text = Strip(text, kLeftEnd);
  while (max_splits-- != 0 && !(by_space && text.empty())) {
    const size_t place =
        by_space ? text.size() - StripWhere(text, kLeftEnd, in_word).size() : text.find(separator);
    if (place == text.npos) break;
    parts.push_back(text.substr(0, place));
    text.remove_prefix(place + separator.size());
    if (by_space) text = Strip(text, kLeftEnd);
  }
  if (!by_space || !text.empty()) parts.push_back(text);
  return parts;
}

}  // namespace jinja
