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

}  // namespace

WorkerPool::WorkerPool(int num_workers) : num_workers_(std::max(1, num_workers)) {
  threads_.reserve(num_workers_ - 1);
  const bool binds = num_workers_ == NumUsableProcessors();
  for (int worker = 1; worker < num_workers_; ++worker) {
    threads_.emplace_back([this, worker, binds] {
      if (binds) BindToProcessor(worker, num_workers_);
      Loop(worker);
    });
  }
}

WorkerPool::~WorkerPool() {
  stopping_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Loop(int worker) {
  uint32_t seen = 0;
  while (true) {
    seen = AwaitChange(generation_, seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    (*task_)(worker);
    if (num_running_.fetch_sub(1, std::memory_order_acq_rel) == 1) num_running_.notify_one();
  }
}

void WorkerPool::Run(FunctionRef<void(int worker)> task) {
  if (num_workers_ == 1) return task(0);
  EXPERTILE_DCHECK(num_running_.load() == 0);
  task_ = &task;
  num_running_.store(num_workers_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  task(0);
  int running = num_running_.load(std::memory_order_acquire);
  while (running != 0) running = AwaitChange(num_running_, running);
}

void WorkerPool::ForEach(int64_t num_pieces, FunctionRef<void(int64_t piece, int worker)> task) {
  if (num_pieces <= 0) return;
  if (num_pieces == 1 || num_workers_ == 1) {
    for (int64_t piece = 0; piece < num_pieces; ++piece) task(piece, 0);
    return;
  }
  std::atomic<int64_t> next = 0;
  Run([&](int worker) {
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
  Run([&](int worker) {
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

}  // namespace expertile
