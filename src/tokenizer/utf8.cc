#include "tokenizer/utf8.h"

namespace expertile {
namespace {

struct LeadByte {
  size_t num_continuations = 0;
  uint8_t first_low = 0x80;  // bounds of the first continuation byte (Unicode table 3-7)
  uint8_t first_high = 0xBF;
};

LeadByte ClassifyLead(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {};
}

}  // namespace

Utf8Step DecodeUtf8(std::string_view text) {
  const auto byte_at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte_at(0);
  if (first < 0x80) return {first, 1, true, false};
  const LeadByte lead = ClassifyLead(first);
  if (lead.num_continuations == 0) return {kReplacementCharacter, 1, false, false};
  char32_t code_point = first & (0x3Fu >> lead.num_continuations);
  for (size_t i = 1; i <= lead.num_continuations; ++i) {
    if (i == text.size()) return {kReplacementCharacter, i, false, true};
    const uint8_t low = i == 1 ? lead.first_low : 0x80;
    const uint8_t high = i == 1 ? lead.first_high : 0xBF;
    if (byte_at(i) < low || byte_at(i) > high) return {kReplacementCharacter, i, false, false};
    code_point = (code_point << 6) | (byte_at(i) & 0x3Fu);
  }
  return {code_point, lead.num_continuations + 1, true, false};
}

void AppendUtf8(char32_t code_point, std::string* text) {
  const auto append = [&](char32_t byte) { text->push_back(static_cast<char>(byte)); };
  const auto append_continuation = [&](int shift) {
    append(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) {
    append(code_point);
  } else if (code_point < 0x800) {
    append(0xC0 | (code_point >> 6));
    append_continuation(0);
  } else if (code_point < 0x10000) {
    append(0xE0 | (code_point >> 12));
    append_continuation(6);
    append_continuation(0);
  } else {
    append(0xF0 | (code_point >> 18));
    append_continuation(12);
    append_continuation(6);
    append_continuation(0);
  }
}

std::string WellFormedUtf8(std::string_view text) {
  std::string pending(text);
  std::string result = TakeCertainUtf8(&pending);
  if (!pending.empty()) AppendUtf8(kReplacementCharacter, &result);
  return result;
}

std::string TakeCertainUtf8(std::string* bytes) {
  std::string result;
  result.reserve(bytes->size());
  std::string_view rest = *bytes;
  while (!rest.empty()) {
    const Utf8Step step = DecodeUtf8(rest);
    if (step.truncated) break;
    if (step.well_formed) {
      result.append(rest.substr(0, step.size));
    } else {
      AppendUtf8(kReplacementCharacter, &result);
    }
    rest.remove_prefix(step.size);
  }
  bytes->erase(0, bytes->size() - rest.size());
  return result;
}

}  // namespace expertile
