// Python's two ways to format text, for the conversions that templates use: the % operator and
// str.format. Not strftime (globals.cc).
#pragma once

#include <string>
#include <string_view>

#include "jinja/environment.h"
#include "jinja/value.h"

namespace jinja {

// format % values: %s %r %d %i %f %%, with the flags - and 0, width and precision; one value or a
// tuple.
std::string FormatPercent(Environment& environment, std::string_view format, const Value& values);

// format.format(...): {} {0} {name} {name:d}, {{ and }}, without other specifications.
std::string FormatBraces(Environment& environment, std::string_view format,
                         const Arguments& arguments);

}  // namespace jinja
