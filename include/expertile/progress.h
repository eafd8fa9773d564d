// OnProgress: how long work tells how far it is.
// Not a log.
#pragma once

#include <cstdint>
#include <functional>

namespace expertile {

// Receives (done, total), done ascending to total.
using OnProgress = std::function<void(int64_t done, int64_t total)>;

}  // namespace expertile
