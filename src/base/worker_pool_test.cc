#include "base/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace expertile {
namespace {

TEST(WorkerPool, EveryWorkerRunsEveryTaskOnce) {
  for (const int size : {1, 2, 5}) {
    WorkerPool pool(size);
    std::vector<int> runs(size, 0);  // each worker writes its own entry: a race shows under TSan
    for (int round = 0; round < 200; ++round) pool.Run([&](int worker) { ++runs[worker]; });
    EXPECT_EQ(runs, std::vector<int>(size, 200));
  }
}

// Far more workers than processors: most come late, and find the door closed.
TEST(WorkerPool, FreeWorkersRunATaskOnceAtMost) {
  constexpr int kSize = 40;
  WorkerPool pool(kSize);
  std::vector<int> runs(kSize, 0);
  for (int round = 1; round <= 300; ++round) {
    pool.RunOnFreeWorkers([&](int worker) { ++runs[worker]; });
    ASSERT_EQ(runs[0], round);
    for (const int count : runs) ASSERT_LE(count, round);
  }
  const std::vector<int> before = runs;
  pool.Run([&](int worker) { ++runs[worker]; });
  for (int worker = 0; worker < kSize; ++worker) EXPECT_EQ(runs[worker], before[worker] + 1);
}

TEST(WorkerPool, OwnedPiecesRunOnTheirOwners) {
  WorkerPool pool(3);
  std::vector<std::thread::id> threads(3);
  pool.Run([&](int worker) { threads[worker] = std::this_thread::get_id(); });
  std::vector<std::thread::id> ran_on(50);
  pool.ForEachOwned(
      50, [](int64_t piece) { return static_cast<int>(piece * piece % 3); },
      [&](int64_t piece) { ran_on[piece] = std::this_thread::get_id(); });
  for (int64_t piece = 0; piece < 50; ++piece) EXPECT_EQ(ran_on[piece], threads[piece * piece % 3]);
}

TEST(WorkerPool, EveryPieceIsTakenOnce) {
  WorkerPool pool(3);
  for (const int64_t count : {0, 1, 2, 3, 1000}) {
    std::vector<int> taken(count, 0);
    pool.ForEach(count, [&](int64_t piece, int) { ++taken[piece]; });
    EXPECT_EQ(taken, std::vector<int>(count, 1));
    pool.ForEachNear(count, [&](int64_t piece, int) { ++taken[piece]; });
    EXPECT_EQ(taken, std::vector<int>(count, 2));
  }
}

// Whatever the others have is done by whoever is free.
TEST(WorkerPool, NearPiecesOfABusyWorkerAreTakenByOthers) {
  WorkerPool pool(2);
  std::atomic<int> done = 0;
  pool.ForEachNear(100, [&](int64_t piece, int) {
    if (piece == 0) {
      while (done.load() < 99) std::this_thread::yield();
    }
    ++done;
  });
  EXPECT_EQ(done.load(), 100);
}

TEST(WorkerPool, ResultsOfOneTaskAreSeenByTheNext) {
  WorkerPool pool(4);
  std::vector<int64_t> values(64, 0);
  std::vector<int64_t> updated(64, 0);
  for (int round = 0; round < 100; ++round) {  // each round reads what other workers wrote
    pool.ForEach(64, [&](int64_t piece, int) { updated[piece] = values[(piece + 7) % 64] + 1; });
    values.swap(updated);
  }
  EXPECT_EQ(values, std::vector<int64_t>(64, 100));
}

TEST(WorkerPool, IdlePoolWakesFromSleep) {
  WorkerPool pool(2);
  int sum = 0;
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pool.ForEach(1, [&](int64_t, int) { ++sum; });
    pool.Run([&](int worker) {
      if (worker == 0) ++sum;
    });
  }
  EXPECT_EQ(sum, 6);
}

}  // namespace
}  // namespace expertile
