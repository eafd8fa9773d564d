#include "jinja/text.h"

#include <utf8proc.h>

namespace jinja {
namespace {

int Category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

void AppendUpper(char32_t code_point, std::string* text) {
  if (code_point == U'ß') {
    *text += "SS";
  } else {
    AppendUtf8(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code_point))),
               text);
  }
}

void AppendTitle(char32_t code_point, std::string* text) {
  if (code_point == U'ß') {
    *text += "Ss";
  } else {
    AppendUtf8(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code_point))),
               text);
  }
}

void AppendLower(char32_t code_point, std::string* text) {
  AppendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point))),
             text);
}

bool IsCased(char32_t code_point) {
  return IsUpper(code_point) || IsLower(code_point) || Category(code_point) == UTF8PROC_CATEGORY_LT;
}

bool IsLineEnd(char32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

// Drops, from the ends asked for, the code points that `drop` holds for.
template <typename Drop>
std::string_view StripWhere(std::string_view text, StripEnds ends, Drop drop) {
  size_t begin = 0;
  while ((ends & kLeftEnd) != 0 && begin < text.size()) {
    size_t next = begin;
    if (!drop(DecodeAt(text, &next))) break;
    begin = next;
  }
  size_t end = text.size();
  while ((ends & kRightEnd) != 0 && end > begin) {
    size_t last = end - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
    size_t next = last;
    if (!drop(DecodeAt(text, &next))) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  size_t offset = 0;
  while (offset < text.size()) {
    utf8proc_int32_t code_point = 0;
    const auto size =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset,
                         static_cast<utf8proc_ssize_t>(text.size() - offset), &code_point);
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
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
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

bool IsAlpha(char32_t code_point) {
  const int category = Category(code_point);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool IsDigit(char32_t code_point) { return Category(code_point) == UTF8PROC_CATEGORY_ND; }

bool IsWordCharacter(char32_t code_point) {
  const int category = Category(code_point);
  return code_point == U'_' || IsAlpha(code_point) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

bool IsPrintable(char32_t code_point) {
  if (code_point == U' ') return true;
  const int category = Category(code_point);
  return category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS;
}

bool IsUpper(char32_t code_point) { return Category(code_point) == UTF8PROC_CATEGORY_LU; }
bool IsLower(char32_t code_point) { return Category(code_point) == UTF8PROC_CATEGORY_LL; }

bool IsAllSpace(std::string_view text) { return Strip(text, kLeftEnd).empty(); }

std::string_view Strip(std::string_view text, StripEnds ends) {
  return StripWhere(text, ends, IsSpace);
}

std::string_view Strip(std::string_view text, std::string_view characters, StripEnds ends) {
  std::u32string dropped;
  for (size_t offset = 0; offset < characters.size();) dropped += DecodeAt(characters, &offset);
  return StripWhere(text, ends, [&](char32_t c) { return dropped.find(c) != dropped.npos; });
}

std::string ToUpper(std::string_view text) {
  std::string result;
  for (size_t offset = 0; offset < text.size();) AppendUpper(DecodeAt(text, &offset), &result);
  return result;
}

std::string ToLower(std::string_view text) {
  std::string result;
  for (size_t offset = 0; offset < text.size();) AppendLower(DecodeAt(text, &offset), &result);
  return result;
}

std::string Capitalize(std::string_view text) {
  std::string result;
  size_t offset = 0;
  if (!text.empty()) AppendTitle(DecodeAt(text, &offset), &result);
  return result + ToLower(text.substr(offset));
}

std::string ToTitle(std::string_view text) {
  std::string result;
  bool in_word = false;
  for (size_t offset = 0; offset < text.size();) {
    const char32_t code_point = DecodeAt(text, &offset);
    if (in_word) {
      AppendLower(code_point, &result);
    } else {
      AppendTitle(code_point, &result);
    }
    in_word = IsCased(code_point);
  }
  return result;
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t offset = 0; offset < text.size();) {
    const size_t end = offset;
    const char32_t code_point = DecodeAt(text, &offset);
    if (!IsLineEnd(code_point)) continue;
    if (code_point == U'\r' && offset < text.size() && text[offset] == '\n') ++offset;
    lines.push_back(text.substr(begin, (keep_ends ? offset : end) - begin));
    begin = offset;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

}  // namespace jinja
