#include "targets/cpu/roof.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace expertile::cpu {
namespace {

constexpr int64_t kBufferBytes = int64_t{1} << 30;  // well above any last-level cache
constexpr int64_t kReadPiece = int64_t{1} << 22;
constexpr int64_t kPeakRepeats = 50000;  // about 0.2 ms a piece
constexpr int64_t kPeakPieces = 64;      // per worker
constexpr int kNumSamples = 5;

double Seconds(FunctionRef<void()> work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double MedianOf(std::vector<Roof>& samples, double Roof::*rate) {
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end(),
                   [rate](const Roof& a, const Roof& b) { return a.*rate < b.*rate; });
  return (*middle).*rate;
}

}  // namespace

Result<RoofProbe> RoofProbe::Create(const KernelTable& table, WorkerPool& pool) {
  RoofProbe probe(table, pool);
  EXPERTILE_ASSIGN(probe.buffer_, PageMemory::Allocate(kBufferBytes));
  std::byte* buffer = probe.buffer_.data();  // untouched pages would all read one zero page
  pool.ForEach(kBufferBytes / kReadPiece, [&](int64_t piece, int) {
    std::memset(buffer + piece * kReadPiece, 1, kReadPiece);
  });
  return probe;
}

double RoofProbe::Rate(int64_t (*kernel)(int64_t repeats)) const {
  if (kernel == nullptr) return 0.0;
  std::atomic<int64_t> operations = 0;
  const double seconds = Seconds([&] {
    pool_->ForEach(kPeakPieces * pool_->size(),
                   [&](int64_t, int) { operations += kernel(kPeakRepeats); });
  });
  return static_cast<double>(operations) / seconds;
}

double RoofProbe::ReadRate() const {
  std::atomic<float> sink = 0.0f;
  const double seconds = Seconds([&] {
    pool_->ForEach(kBufferBytes / kReadPiece, [&](int64_t piece, int) {
      sink = table_->read_bytes(buffer_.data() + piece * kReadPiece, kReadPiece);
    });
  });
  return static_cast<double>(kBufferBytes) / seconds;
}

Roof RoofProbe::Measure() {
  return {Rate(table_->peak_float32), Rate(table_->peak_bfloat16), Rate(table_->peak_int8),
          ReadRate()};
}

Roof MedianRoof(std::vector<Roof> samples) {
  return {MedianOf(samples, &Roof::float32_flops), MedianOf(samples, &Roof::bfloat16_flops),
          MedianOf(samples, &Roof::int8_ops), MedianOf(samples, &Roof::read_bytes)};
}

Result<Roof> MeasureRoof(const KernelTable& table, WorkerPool& pool) {
  EXPERTILE_ASSIGN(RoofProbe probe, RoofProbe::Create(table, pool));
  std::vector<Roof> samples;
  for (int i = 0; i < kNumSamples; ++i) samples.push_back(probe.Measure());
  return MedianRoof(std::move(samples));
}

}  // namespace expertile::cpu
