// Splitting and replacing by substring, as Python's str does. Not character classes (text.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/error.h"

namespace jinja {

class Environment;

// Parts between occurrences of `separator`, or, where that is empty, between runs of white space
// (as str.split(None)). At most `max_splits` splits unless that is negative, counted from the left
// or from the right.
std::vector<std::string_view> Split(std::string_view text, std::string_view separator,
                                    int64_t max_splits, bool from_right);

// str.replace: at most `count` times unless that is negative. An empty `from` stands between all
// characters. The result's size is checked first.
Result<std::string> Replace(Environment& environment, std::string_view text, std::string_view from,
                            std::string_view to, int64_t count);

// str.isupper, str.islower: a cased character, and none of the other case.
bool IsUpperText(std::string_view text);
bool IsLowerText(std::string_view text);

}  // namespace jinja
