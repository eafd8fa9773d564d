// Calls that compute: without the GIL, one at a time for each program (its sessions share workers),
// and stopped by Ctrl-C. Not for what only looks something up.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "python/bindings/bindings.h"

namespace expertile::python {

// Held while a program or one of its sessions computes.
class ProgramLock {
 public:
  // Called without the GIL. Throws if this thread holds it: a callback called back.
  void lock() {
    if (owner_.load() == std::this_thread::get_id()) {
      throw ErrorException(
          {ErrorCode::kInvalidArgument, "session: in use by the call that called this"});
    }
    mutex_.lock();
    owner_ = std::this_thread::get_id();
  }
  void unlock() {
    owner_ = std::thread::id();
    mutex_.unlock();
  }

 private:
  std::mutex mutex_;
  std::atomic<std::thread::id> owner_;
};

// Whether the running call is to stop: Python has a signal (Ctrl-C) whose handler raises, or
// somebody called Cancel().
class Interrupt {
 public:
  // Called without the GIL, by the thread that made the call.
  bool Ask() {
    if (is_cancelled_.load()) return true;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(20)) return false;
    last_ = now;
    const nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() == 0) return false;
    raised_ = std::make_exception_ptr(nb::python_error());
    return true;
  }
  void Cancel() { is_cancelled_ = true; }
  void Begin() { is_cancelled_ = false; }
  // With the GIL: raises what the signal's handler raised.
  void Rethrow() {
    if (raised_) std::rethrow_exception(std::exchange(raised_, nullptr));
  }

 private:
  std::atomic<bool> is_cancelled_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::exception_ptr raised_;
};

// What work(is_cancelled) returns, run without the GIL and stopped by Ctrl-C: for what belongs to
// no session.
template <typename Work>
auto RunAlone(Work work) {
  Interrupt interrupt;
  auto result = [&] {
    const nb::gil_scoped_release no_gil;
    return work([&] { return interrupt.Ask(); });
  }();
  interrupt.Rethrow();
  return result;
}

// What work() returns, run without the GIL and with the program to itself.
template <typename Work>
auto RunUnlocked(ProgramLock& program, Work work) {
  const nb::gil_scoped_release no_gil;
  const std::lock_guard lock(program);
  return work();
}

// The same for work that asks `interrupt`.
template <typename Work>
auto RunInterruptibly(ProgramLock& program, Interrupt& interrupt, Work work) {
  auto result = RunUnlocked(program, [&] {
    interrupt.Begin();
    return work();
  });
  interrupt.Rethrow();
  return result;
}

}  // namespace expertile::python
