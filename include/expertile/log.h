// What the library does and how long it takes, told line by line to whoever asks: files opened, the
// instruction set, cache hits, phases. Not errors: those are values (result.h).
#pragma once

#include <functional>
#include <string_view>

namespace expertile {

enum class LogLevel {
  kInfo,   // a few lines for each model, program or session
  kDebug,  // and one for each step
};

// Called by any thread, one call at a time; must not call the library.
using LogSink = std::function<void(LogLevel level, std::string_view message)>;

// From now on `sink` gets the messages of `most` and below. Null is silence, as at the start.
void SetLogSink(LogSink sink, LogLevel most = LogLevel::kInfo);

}  // namespace expertile
