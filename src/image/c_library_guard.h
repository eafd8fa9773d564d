// CLibraryGuard: runs calls into libpng or libjpeg, whose errors are longjmps, and keeps the
// message. Not a general exception substitute: see what Run asks of its step.
#pragma once

#include <csetjmp>
#include <cstdio>
#include <string_view>

namespace expertile {

class CLibraryGuard {
 public:
  static constexpr size_t kMessageSize = 256;

  // Returns whether `step` ran to its end. On a longjmp out of the library its frames vanish, so
  // `step` must create no object with a destructor.
  template <typename Step>
  bool Run(const Step& step) {
    if (setjmp(jump_) != 0) return false;
    step();
    return true;
  }

  // To be called by the library's error callback, inside a Run.
  [[noreturn]] void Leave() { std::longjmp(jump_, 1); }
  [[noreturn]] void Leave(const char* message) {
    std::snprintf(message_, kMessageSize, "%s", message);
    Leave();
  }

  char* message_buffer() { return message_; }  // [kMessageSize]
  std::string_view message() const { return message_; }

 private:
  std::jmp_buf jump_;
  char message_[kMessageSize] = {};
};

}  // namespace expertile
