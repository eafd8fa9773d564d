// Stopwatch: seconds since it was made. Not a sum over stages: targets/stage_clock.h.
#pragma once

#include <chrono>

namespace expertile {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace expertile
