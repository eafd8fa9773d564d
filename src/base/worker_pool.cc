#include "base/worker_pool.h"

#include <algorithm>

#include "base/check.h"
#include "base/processors.h"

namespace expertile {
namespace {

// Polls before sleeping: a layer's phases follow each other within microseconds, a sleep costs
// about fifty. Bounded, since a machine may have fewer free cores than workers.
constexpr int kNumPolls = 4000;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits until `value` differs from `old`; returns what it then holds.
template <typename T>
T AwaitChange(const std::atomic<T>& value, T old) {
  for (int poll = 0; poll < kNumPolls; ++poll) {
    const T current = value.load(std::memory_order_acquire);
    if (current != old) return current;
    Pause();
  }
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

// door_, in one word so that going in and closing cannot miss each other: the number of the task
// (modulo 2^15: a worker that slept through all of them misses one more), whether it may still be
// begun, and how many helpers are at it.
constexpr uint32_t kOpen = uint32_t{1} << 16;
constexpr uint32_t kOneTask = uint32_t{1} << 17;
constexpr uint32_t TaskOf(uint32_t door) { return door & ~(kOneTask - 1); }
constexpr uint32_t NumInside(uint32_t door) { return door & (kOpen - 1); }

}  // namespace

WorkerPool::WorkerPool(int num_workers) : num_workers_(std::max(1, num_workers)) {
  threads_.reserve(num_workers_ - 1);
  const bool binds = num_workers_ == NumAllowedProcessors();
  for (int worker = 1; worker < num_workers_; ++worker) {
    threads_.emplace_back([this, worker, binds] {
      if (binds) BindToProcessor(worker, num_workers_);
      Loop(worker);
    });
  }
}

WorkerPool::~WorkerPool() {
  stopping_.store(true, std::memory_order_relaxed);
  num_tasks_.fetch_add(1, std::memory_order_release);
  num_tasks_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Loop(int worker) {
  uint32_t seen = 0;
  uint32_t last_task = 0;
  while (true) {
    seen = AwaitChange(num_tasks_, seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if (!Enter(last_task)) continue;
    (*task_)(worker);
    Leave();
  }
}

// Goes in if the door is open, to a task that this worker has not done.
bool WorkerPool::Enter(uint32_t& last_task) {
  uint32_t door = door_.load(std::memory_order_acquire);
  while ((door & kOpen) != 0 && TaskOf(door) != last_task) {
    if (door_.compare_exchange_weak(door, door + 1, std::memory_order_acq_rel,
                                    std::memory_order_acquire)) {
      last_task = TaskOf(door);
      return true;
    }
  }
  return false;
}

void WorkerPool::Leave() {
  const uint32_t before = door_.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & kOpen) == 0 && NumInside(before) == 1) door_.notify_one();
}

void WorkerPool::RunOnFreeWorkers(FunctionRef<void(int worker)> task) {
  if (num_workers_ == 1) return task(0);
  EXPERTILE_DCHECK((door_.load() & kOpen) == 0 && NumInside(door_.load()) == 0);
  task_ = &task;
  const uint32_t task_number = TaskOf(door_.load(std::memory_order_relaxed)) + kOneTask;
  door_.store(task_number | kOpen, std::memory_order_release);
  num_tasks_.fetch_add(1, std::memory_order_release);
  num_tasks_.notify_all();
  task(0);
  uint32_t door = door_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  while (NumInside(door) != 0) door = AwaitChange(door_, door);
}

void WorkerPool::Run(FunctionRef<void(int worker)> task) {
  std::atomic<int> num_missing = num_workers_ - 1;
  RunOnFreeWorkers([&](int worker) {
    task(worker);
    if (worker == 0) {
      // The door stays open until everyone has come.
      for (int missing = num_missing.load(std::memory_order_acquire); missing != 0;) {
        missing = AwaitChange(num_missing, missing);
      }
    } else if (num_missing.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      num_missing.notify_one();
    }
  });
}

void WorkerPool::ForEach(int64_t num_pieces, FunctionRef<void(int64_t piece, int worker)> task) {
  if (num_pieces <= 0) return;
  if (num_pieces == 1 || num_workers_ == 1) {
    for (int64_t piece = 0; piece < num_pieces; ++piece) task(piece, 0);
    return;
  }
  std::atomic<int64_t> next = 0;
  RunOnFreeWorkers([&](int worker) {
    for (int64_t piece = next.fetch_add(1, std::memory_order_relaxed); piece < num_pieces;
         piece = next.fetch_add(1, std::memory_order_relaxed)) {
      task(piece, worker);
    }
  });
}

void WorkerPool::ForEachNear(int64_t num_pieces,
                             FunctionRef<void(int64_t piece, int worker)> task) {
  if (num_pieces <= num_workers_ || num_workers_ == 1) return ForEach(num_pieces, task);
  struct alignas(64) Share {  // a cache line each: counters are written often
    std::atomic<int64_t> next;
    int64_t end;
  };
  std::vector<Share> shares(num_workers_);
  for (int worker = 0; worker < num_workers_; ++worker) {
    shares[worker].next = num_pieces * worker / num_workers_;
    shares[worker].end = num_pieces * (worker + 1) / num_workers_;
  }
  RunOnFreeWorkers([&](int worker) {
    for (int i = 0; i < num_workers_; ++i) {
      Share& share = shares[(worker + i) % num_workers_];
      while (true) {
        const int64_t piece = share.next.fetch_add(1, std::memory_order_relaxed);
        if (piece >= share.end) break;
        task(piece, worker);
      }
    }
  });
}

void WorkerPool::ForEachOwned(int64_t num_pieces, FunctionRef<int(int64_t piece)> owner,
                              FunctionRef<void(int64_t piece)> task) {
  Run([&](int worker) {
    for (int64_t piece = 0; piece < num_pieces; ++piece) {
      if (owner(piece) == worker) task(piece);
    }
  });
}

}  // namespace expertile
