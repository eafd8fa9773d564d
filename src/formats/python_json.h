// What Python's json module takes beside RFC 8259, rewritten so that a standard parser takes it.
// Not a parser: what neither of them takes is left for the parser to refuse.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace expertile {

// A text of the same length, in which NaN, Infinity, -Infinity and numbers that overflow a double
// have become empty strings, and the escape of half a surrogate pair that of U+FFFD.
struct StandardJson {
  std::string text;
  // The numbers replaced, by their place among all strings of `text` (keys are strings, too).
  std::map<size_t, double> numbers;
};
StandardJson FromPythonJson(std::string_view text);

}  // namespace expertile
