// A fixed set of threads that run one task together, worker by worker or piece by piece.
// Not a scheduler: what the pieces are, and which worker takes which, is the caller's business.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace expertile {

// A non-owning reference to a callable, two words wide; the callable must outlive the call.
template <typename Signature>
class FunctionRef;

template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& callable)  // NOLINT(google-explicit-constructor): lambdas are passed in place
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        invoke_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return invoke_(object_, args...); }

 private:
  void* object_;
  R (*invoke_)(void*, Args...);
};

class WorkerPool {
 public:
  // num_workers >= 1, the calling thread included: WorkerPool(1) starts no thread. A pool of as
  // many workers as there are processors that this process may run on binds its threads to one
  // each, and leaves one to the caller, whom it does not bind; a smaller pool may have company,
  // which only the system can place.
  explicit WorkerPool(int num_workers);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool();

  int size() const { return num_workers_; }

  // All of the following return when the work is done. One at a time, from one thread, never from
  // inside a task. The caller is worker 0.

  // Runs task(worker) once on every worker, 0 <= worker < size().
  void Run(FunctionRef<void(int worker)> task);

  // The same for a task that any worker can finish alone: runs it on the caller, and once on each
  // other worker that comes before the caller is done. One that the system gives no processor in
  // time is not waited for.
  void RunOnFreeWorkers(FunctionRef<void(int worker)> task);

  // Runs task(piece, worker) for 0 <= piece < num_pieces; a free worker takes the next piece.
  void ForEach(int64_t num_pieces, FunctionRef<void(int64_t piece, int worker)> task);

  // The same for pieces whose neighbours share data: each worker has an even share of them in a
  // row, and takes from others' when its own is done.
  void ForEachNear(int64_t num_pieces, FunctionRef<void(int64_t piece, int worker)> task);

  // The same, each piece on worker owner(piece) and no other: for memory that this worker is to
  // write first, so that it lies on the worker's memory node.
  void ForEachOwned(int64_t num_pieces, FunctionRef<int(int64_t piece)> owner,
                    FunctionRef<void(int64_t piece)> task);

 private:
  void Loop(int worker);
  bool Enter(uint32_t& last_task);
  void Leave();

  const int num_workers_;
  std::atomic<bool> stopping_ = false;
  // Begun so far: what idle workers watch. On a cache line of its own, as what they write is.
  alignas(64) std::atomic<uint32_t> num_tasks_ = 0;
  alignas(64) std::atomic<uint32_t> door_ = 0;  // see worker_pool.cc
  const FunctionRef<void(int)>* task_ = nullptr;
  std::vector<std::thread> threads_;
};

}  // namespace expertile
