// UTF-8 as the tokenizer needs it: decoding by maximal subparts, so that ill-formed bytes become
// U+FFFD exactly as in Rust's from_utf8_lossy and Python's errors="replace".
// Not for properties of characters: those are utf8proc's (normalizer.cc) and PCRE2's (regex.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace expertile {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// The start of a string, decoded: one character, or one maximal ill-formed subpart (Unicode 15.0,
// section 3.9, "Substitution of Maximal Subparts").
struct Utf8Step {
  char32_t code_point = kReplacementCharacter;
  size_t size = 0;  // bytes taken, >= 1
  bool well_formed = false;
  bool truncated = false;  // ill-formed only because the text ends here
};

// `text` must not be empty.
Utf8Step DecodeUtf8(std::string_view text);

// `code_point` must be a Unicode scalar value.
void AppendUtf8(char32_t code_point, std::string* text);

// `text` with every maximal ill-formed subpart replaced by U+FFFD.
std::string WellFormedUtf8(std::string_view text);

// Moves the longest prefix of `*bytes` that later bytes cannot change to the result, ill-formed
// subparts replaced by U+FFFD: at most 3 bytes, the start of a character, stay behind.
std::string TakeCertainUtf8(std::string* bytes);

}  // namespace expertile
