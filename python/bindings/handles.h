// The objects of the library that Python holds, each with what its calls need: the lock of its
// program and, for what computes, whether to stop. Not their methods.
#pragma once

#include <memory>
#include <utility>

#include "expertile/model.h"
#include "python/bindings/locks.h"

namespace expertile::python {

struct ProgramHandle {
  explicit ProgramHandle(Program p) : program(std::move(p)) {}

  Program program;
  std::shared_ptr<ProgramLock> lock = std::make_shared<ProgramLock>();
};

struct SessionHandle {
  SessionHandle(Session s, std::shared_ptr<ProgramLock> l)
      : session(std::move(s)), lock(std::move(l)) {
    session.SetIsCancelled([interrupt = interrupt] { return interrupt->Ask(); });
  }

  // What work() returns, by a session that nobody else uses and Ctrl-C stops.
  template <typename Work>
  auto Run(Work work) {
    return Unwrap(RunInterruptibly(*lock, *interrupt, std::move(work)));
  }

  Session session;
  std::shared_ptr<ProgramLock> lock;
  std::shared_ptr<Interrupt> interrupt = std::make_shared<Interrupt>();
};

}  // namespace expertile::python
