// OnProgress and IsCancelled: how long work tells how far it is, and asks whether to go on.
// Not a log.
#pragma once

#include <cstdint>
#include <functional>

namespace expertile {

// Receives (done, total), done ascending to total.
using OnProgress = std::function<void(int64_t done, int64_t total)>;

// True: the work is to stop, and returns kCancelled.
using IsCancelled = std::function<bool()>;

}  // namespace expertile
