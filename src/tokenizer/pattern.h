// The "pattern" member that Split and Replace share: {"Regex": "…"} or {"String": "…"}.
// Not a regular expression library: that is regex.h.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "tokenizer/regex.h"

namespace expertile {

Result<Regex> PatternFromJson(const nlohmann::json& pattern, std::string_view where);

}  // namespace expertile
