// attention_bench: one layer's attention alone on random rows, beside the time that its
// multiply-adds take at the peak of registers and the time to read its keys and values once.
// Usage: [EXPERTILE_ISA=...] attention_bench [name=value ...]; the names are those of Settings.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "targets/cpu/attention.h"
#include "targets/cpu/isa.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kv_cache.h"

namespace expertile::cpu {
namespace {

// The shape of Qwen3-30B-A3B.
struct Settings {
  int64_t rows = 2048;    // of the step: the last positions of each sequence
  int64_t context = 0;    // positions of a sequence; 0 = as many as rows
  int64_t sequences = 1;  // with `rows` rows each
  int64_t heads = 32;
  int64_t kv_heads = 4;
  int64_t head_dim = 128;
  int64_t window = 0;
  int64_t workers = 1;
  int64_t repeats = 5;
  int64_t cache = 0;     // KvFormat: 0 float32, 1 bfloat16, 2 MXINT8
  int64_t bfloat16 = 0;  // 1: products in bfloat16
};

bool Parse(int argc, char** argv, Settings& settings) {
  const std::pair<std::string_view, int64_t*> fields[] = {
      {"rows", &settings.rows},           {"context", &settings.context},
      {"sequences", &settings.sequences}, {"heads", &settings.heads},
      {"kv_heads", &settings.kv_heads},   {"head_dim", &settings.head_dim},
      {"window", &settings.window},       {"workers", &settings.workers},
      {"repeats", &settings.repeats},     {"cache", &settings.cache},
      {"bfloat16", &settings.bfloat16}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const size_t equals = argument.find('=');
    const auto is_named = [&](const auto& field) {
      return field.first == argument.substr(0, equals);
    };
    const auto field = std::ranges::find_if(fields, is_named);
    if (equals == argument.npos || field == std::end(fields)) return false;
    *field->second = std::atoll(argv[i] + equals + 1);
  }
  if (settings.context == 0) settings.context = settings.rows;
  return settings.context >= settings.rows && settings.rows > 0 && settings.workers > 0 &&
         settings.repeats > 0 && settings.cache >= 0 && settings.cache <= 2;
}

// Of one worker the processor's time, which others on the machine disturb least.
double Seconds(int64_t workers) {
  timespec now = {};
  clock_gettime(workers == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::vector<float> Normal(int64_t size) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

AlignedBuffer<std::byte> Zeros(size_t size) {
  AlignedBuffer<std::byte> buffer(size);
  std::ranges::fill(buffer.span(), std::byte{0});
  return buffer;
}

// The best of a few measurements of what `work`, which returns an amount, does a second.
template <typename Function>
double Rate(int64_t workers, WorkerPool& pool, Function work) {
  double best = 0.0;
  for (int i = 0; i < 5; ++i) {
    std::vector<double> amounts(workers);
    const double start = Seconds(workers);
    pool.Run([&](int worker) { amounts[worker] = static_cast<double>(work(worker)); });
    best = std::max(best, std::reduce(amounts.begin(), amounts.end()) / (Seconds(workers) - start));
  }
  return best;
}

// The rows of a step, with their keys and values in a cache.
struct Work {
  Work(const Settings& s, const KernelTable& table)
      : num_blocks((s.context + kKvBlockSize - 1) / kKvBlockSize),
        cache(KvCache::Create({.num_blocks = s.sequences * num_blocks,
                               .num_kv_heads = static_cast<int>(s.kv_heads),
                               .head_dim = s.head_dim,
                               .panel_columns = table.panel_columns,
                               .format = static_cast<KvFormat>(s.cache)})
                  .value()),
        ids(s.sequences * num_blocks) {
    std::iota(ids.begin(), ids.end(), 0);
    const std::vector<float> rows = Normal(s.context * s.head_dim);
    for (int64_t sequence = 0; sequence < s.sequences; ++sequence) {
      tables.push_back(std::span(ids).subspan(sequence * num_blocks, num_blocks));
      for (int64_t p = 0; p < s.context; ++p) {
        const auto row = std::span(rows).subspan(p * s.head_dim, s.head_dim);
        for (int head = 0; head < s.kv_heads; ++head) {
          cache.Write(tables.back(), head, p, row, row);
        }
      }
      for (int64_t p = s.context - s.rows; p < s.context; ++p) {
        sequences.push_back(static_cast<int32_t>(sequence));
        positions.push_back(static_cast<int32_t>(p));
        const KeySpan seen = KeysSeen(p, s.window);
        flop += 4.0 * static_cast<double>((seen.end - seen.begin) * s.heads * s.head_dim);
      }
    }
    const double seen = static_cast<double>(s.window == 0 ? s.context : s.window + s.rows - 1);
    const KvCodec codec(cache.shape().format, s.head_dim);
    bytes =
        2.0 * std::min(seen, static_cast<double>(s.context)) *
        static_cast<double>(s.sequences * s.kv_heads * (codec.row_bytes() + codec.row_scales()));
  }

  int64_t num_blocks;
  KvCache cache;
  std::vector<int32_t> ids;
  std::vector<BlockTable> tables;
  std::vector<int32_t> sequences;
  std::vector<int32_t> positions;
  double flop = 0.0;   // of what the rows see
  double bytes = 0.0;  // of keys and values that any row sees
};

void Bench(const Settings& s, const KernelTable& table) {
  const Work work(s, table);
  WorkerPool pool(static_cast<int>(s.workers));
  const ComputeType type = s.bfloat16 != 0 ? ComputeType::kBFloat16 : ComputeType::kFloat32;
  auto attention = BlockAttention::Create(table, type, work.cache, pool.size()).value();
  const std::vector<float> query = Normal(s.sequences * s.rows * s.heads * s.head_dim);
  std::vector<float> mixed(query.size());
  const AttentionPass pass{.window = s.window,
                           .scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim)),
                           .sinks = nullptr,
                           .query = query.data(),
                           .num_heads = s.heads,
                           .sequences = work.sequences,
                           .positions = work.positions,
                           .block_tables = work.tables,
                           .mixed = mixed.data()};
  std::vector<double> seconds;
  for (int64_t i = 0; i < s.repeats; ++i) {
    const double start = Seconds(s.workers);
    attention.Run(pass, work.cache, pool);
    seconds.push_back(Seconds(s.workers) - start);
  }
  std::ranges::sort(seconds);
  const double median = seconds[seconds.size() / 2];
  const auto peak = s.bfloat16 != 0 ? table.peak_bfloat16 : table.peak_float32;
  const double flops = Rate(s.workers, pool, [&](int) { return peak(2'000'000); });
  constexpr size_t kReadBytes = 256 << 20;  // a worker
  const AlignedBuffer<std::byte> memory = Zeros(kReadBytes * s.workers);
  const double bandwidth = Rate(s.workers, pool, [&](int worker) {
    const float sum = table.read_bytes(memory.data() + worker * kReadBytes, kReadBytes);
    return sum == 0.0f ? kReadBytes : size_t{0};
  });
  const double multiply = work.flop / flops;
  const double read = work.bytes / bandwidth;
  std::printf(
      "%s: %.3f ms (least %.3f), %.1f GFLOP/s; multiplying %.3f ms, reading %.3f ms: %.2f\n",
      std::string(table.name).c_str(), median * 1e3, seconds[0] * 1e3, work.flop / median * 1e-9,
      multiply * 1e3, read * 1e3, std::max(multiply, read) / median);
}

}  // namespace
}  // namespace expertile::cpu

int main(int argc, char** argv) {
  expertile::cpu::Settings settings;
  const auto isa = expertile::cpu::ChooseIsa();
  if (!isa || !expertile::cpu::Parse(argc, argv, settings)) {
    std::fprintf(stderr, "usage: attention_bench [name=value ...]\n");
    return 2;
  }
  expertile::cpu::Bench(settings, expertile::cpu::KernelsFor(*isa));
  return 0;
}
