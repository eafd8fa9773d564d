// Log("…{}…", value): a line for the sink of expertile/log.h; costs nothing where there is none.
// Not errors (base/error.h).
#pragma once

#include <fmt/format.h>

#include <chrono>
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

// Seconds since it was made.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace expertile
