// Log("…{}…", value): a line for the sink of expertile/log.h; costs nothing where there is none.
// Not errors (base/error.h).
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "expertile/log.h"

namespace expertile {

bool IsLogged(LogLevel level);
void PassToSink(LogLevel level, std::string_view message);

template <typename... Args>
void Log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (IsLogged(level)) PassToSink(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace expertile
