// Watch: how long work tells how far it is, and hears whether to stop. Not a log.
#pragma once

#include <utility>

#include "base/error.h"
#include "expertile/progress.h"

namespace expertile {

// Told (done, total); its error is the work's. May be empty.
using Watch = std::function<Status(int64_t done, int64_t total)>;

// Passes on to on_progress, and asks is_cancelled. Either may be empty.
inline Watch WatchOf(OnProgress on_progress, IsCancelled is_cancelled) {
  if (!on_progress && !is_cancelled) return nullptr;
  return [told = std::move(on_progress), asked = std::move(is_cancelled)](int64_t done,
                                                                          int64_t total) -> Status {
    if (told) told(done, total);
    if (!asked || !asked()) return {};
    return Fail(ErrorCode::kCancelled, "cancelled, {} of {} done", done, total);
  };
}

inline Status Tell(const Watch& watch, int64_t done, int64_t total) {
  return watch ? watch(done, total) : Status();
}

}  // namespace expertile
