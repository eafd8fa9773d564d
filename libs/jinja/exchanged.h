// A variable set for the time of a C++ scope, and set back at its end. Not a lock.
#pragma once

#include <utility>

namespace jinja {

template <typename T>
class Exchanged {
 public:
  Exchanged(T* variable, T value) : variable_(*variable), before_(std::move(*variable)) {
    variable_ = std::move(value);
  }
  Exchanged(const Exchanged&) = delete;
  Exchanged& operator=(const Exchanged&) = delete;
  ~Exchanged() { variable_ = std::move(before_); }

 private:
  T& variable_;
  T before_;
};

}  // namespace jinja
