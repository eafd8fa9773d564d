// Rewrites a regular expression of Oniguruma's syntax, which tokenizer.json files are written in,
// to one that PCRE2 (with UTF, UCP and MULTILINE) understands the same way.
// Not a full translator: what the two read differently and is not rewritten here is refused.
#pragma once

#include <string>
#include <string_view>

#include "expertile/result.h"

namespace expertile {

// `pattern` must be well-formed UTF-8. kUnsupported names the construct and its byte offset.
Result<std::string> Pcre2FromOniguruma(std::string_view pattern);

}  // namespace expertile
