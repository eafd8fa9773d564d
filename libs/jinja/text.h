// UTF-8 text by code points, with Python's notions of white space, case and printability. All input
// must be valid UTF-8 (IsValidUtf8). Not locale-dependent; letters that change length with case
// (but for the German sharp s) keep their simple mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace jinja {

enum StripEnds { kLeftEnd = 1, kRightEnd = 2, kBothEnds = 3 };

bool IsValidUtf8(std::string_view text);
// The code point at *offset, which moves behind it.
char32_t DecodeAt(std::string_view text, size_t* offset);
void AppendUtf8(char32_t code_point, std::string* text);
size_t CountCodePoints(std::string_view text);
// Where the code point `index` begins; text.size() when there are fewer.
size_t OffsetOf(std::string_view text, size_t index);
std::vector<std::string_view> SplitCodePoints(std::string_view text);

bool IsPrintable(char32_t code_point);

std::string_view Strip(std::string_view text, StripEnds ends);
std::string_view Strip(std::string_view text, std::string_view characters, StripEnds ends);
std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);
std::string Capitalize(std::string_view text);
std::string ToTitle(std::string_view text);     // str.title(): every run of letters
std::string TitleWords(std::string_view text);  // the filter: words behind space and - ( { [ <

// Parts between occurrences of `separator`, or, where that is empty, between runs of white space
// (as str.split(None)). At most `max_splits` splits unless that is negative.
std::vector<std::string_view> Split(std::string_view text, std::string_view separator,
                                    int64_t max_splits);

}  // namespace jinja
