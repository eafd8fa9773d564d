#include "jinja/text_edit.h"

#include <algorithm>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/text.h"

namespace jinja {
namespace {

using Parts = std::vector<std::string_view>;

// Bytes at the beginning (or the end) of `text` that are not white space.
size_t WordSize(std::string_view text, bool from_right) {
  if (!from_right) {
    size_t size = 0;
    while (size < text.size()) {
      size_t next = size;
      if (IsSpace(DecodeAt(text, &next))) break;
      size = next;
    }
    return size;
  }
  size_t begin = text.size();
  while (begin > 0) {
    size_t last = begin - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
    size_t next = last;
    if (IsSpace(DecodeAt(text, &next))) break;
    begin = last;
  }
  return text.size() - begin;
}

Parts SplitAtSpace(std::string_view text, int64_t max_splits, bool from_right) {
  Parts parts;
  const StripEnds near_end = from_right ? kRightEnd : kLeftEnd;
  text = Strip(text, near_end);
  while (!text.empty()) {
    if (max_splits-- == 0) {
      parts.push_back(text);  // with the white space at its far end, as in Python
      break;
    }
    const size_t size = WordSize(text, from_right);
    parts.push_back(from_right ? text.substr(text.size() - size) : text.substr(0, size));
    text = from_right ? text.substr(0, text.size() - size) : text.substr(size);
    text = Strip(text, near_end);
  }
  return parts;
}

}  // namespace

Parts Split(std::string_view text, std::string_view separator, int64_t max_splits,
            bool from_right) {
  Parts parts;
  if (separator.empty()) {
    parts = SplitAtSpace(text, max_splits, from_right);
  } else {
    while (max_splits-- != 0) {
      const size_t place = from_right ? text.rfind(separator) : text.find(separator);
      if (place == text.npos) break;
      const size_t behind = place + separator.size();
      parts.push_back(from_right ? text.substr(behind) : text.substr(0, place));
      text = from_right ? text.substr(0, place) : text.substr(behind);
    }
    parts.push_back(text);
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

Result<std::string> Replace(Environment& environment, std::string_view text, std::string_view from,
                            std::string_view to, int64_t count) {
  JINJA_RETURN_IF_ERROR(environment.Step(ScanSteps(text, from)));
  std::string result;
  size_t position = 0;
  const auto take = [&](size_t size) {
    result += text.substr(position, size);
    position += size;
  };
  for (bool first = true; count != 0; --count, first = false) {
    size_t place = from.empty() ? position : text.find(from, position);
    if (from.empty() && !first) {
      if (position == text.size()) break;
      place = position + OffsetOf(text.substr(position), 1);
    }
    if (place == text.npos) break;
    take(place - position);
    result += to;
    position += from.size();
    JINJA_RETURN_IF_ERROR(environment.CheckSize(result.size()));
  }
  take(text.size() - position);
  return result;
}

namespace {

bool HasOneCase(std::string_view text, bool (*wanted)(char32_t), bool (*refused)(char32_t)) {
  bool found = false;
  for (size_t offset = 0; offset < text.size();) {
    const char32_t code_point = DecodeAt(text, &offset);
    if (refused(code_point)) return false;
    found = found || wanted(code_point);
  }
  return found;
}

}  // namespace

bool IsUpperText(std::string_view text) { return HasOneCase(text, IsUpper, IsLower); }
bool IsLowerText(std::string_view text) { return HasOneCase(text, IsLower, IsUpper); }

}  // namespace jinja
