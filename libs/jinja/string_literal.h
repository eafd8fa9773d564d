// Strings between source text and value: what a literal's escapes mean, and how Python and JSON
// quote. Not the values around them (value_text.h).
#pragma once

#include <string>
#include <string_view>

#include "jinja/error.h"

namespace jinja {

// The text of a literal whose body (without quotes) is `body`. Python's escapes, but for \N{name};
// escaped surrogates are errors.
Result<std::string> UnescapeString(std::string_view body);

// repr(str): single quotes, unless only those occur in the text.
std::string PythonQuoted(std::string_view text);

// As json.dumps writes a string.
std::string JsonQuoted(std::string_view text, bool ensure_ascii);

}  // namespace jinja
