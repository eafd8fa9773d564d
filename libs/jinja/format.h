// Python's two ways to format text: the % operator and str.format, for the conversions that
// templates use. Not strftime (globals.cc).
#pragma once

#include <string>
#include <string_view>

#include "jinja/error.h"
#include "jinja/value.h"

namespace jinja {

// format % values: %s %r %d %i %u %x %X %o %f %F %e %g %c %% with flags, width and precision; one
// value, a tuple, or a dict for %(name)s.
Result<std::string> FormatPercent(Environment& environment, std::string_view format,
                                  const Value& values);

// format.format(...): {} {0} {name}, {{ and }}. Format specifications, conversions and attribute
// lookups inside the braces are refused as unsupported.
Result<std::string> FormatBraces(Environment& environment, std::string_view format,
                                 const Arguments& arguments);

}  // namespace jinja
