#include "base/log.h"

#include <atomic>
#include <mutex>

namespace expertile {
namespace {

struct Sink {
  std::mutex mutex;
  LogSink function;
};

Sink& TheSink() {
  static Sink sink;
  return sink;
}

// Of the most talkative level that is logged; -1 = none.
std::atomic<int> logged = -1;

}  // namespace

void SetLogSink(LogSink sink, LogLevel most) {
  const std::lock_guard lock(TheSink().mutex);
  logged = sink ? static_cast<int>(most) : -1;
  TheSink().function = std::move(sink);
}

bool IsLogged(LogLevel level) {
  return static_cast<int>(level) <= logged.load(std::memory_order_relaxed);
}

void PassToSink(LogLevel level, std::string_view message) {
  const std::lock_guard lock(TheSink().mutex);
  if (TheSink().function) TheSink().function(level, message);
}

}  // namespace expertile
