#include "targets/cpu/moe_bench.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stopwatch.h"
#include "targets/cpu/roof.h"

namespace expertile::cpu {
namespace {

// Uniform in [-scale, scale), cheap enough for billions of weights.
class RandomRows {
 public:
  RandomRows(uint64_t seed, int64_t size, float scale) : state_(seed), size_(size), scale_(scale) {}
  void operator()(int64_t, float* values) {
    for (int64_t i = 0; i < size_; ++i) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      values[i] = scale_ * (static_cast<float>(state_ >> 40) * 0x1p-23f - 1.0f);
    }
  }

 private:
  uint64_t state_;
  int64_t size_;
  float scale_;
};

// Codes spread over all sixteen, with the scale that makes their values as large as RandomRows'.
class RandomMxfp4Rows {
 public:
  RandomMxfp4Rows(uint64_t seed, int64_t size, float scale)
      : state_(seed), size_(size), scale_(127 + std::ilogb(scale / kLargest)) {}
  void operator()(int64_t, Mxfp4Row row) {
    for (int64_t i = 0; i < size_ / 2; ++i) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      row.codes[i] = static_cast<std::byte>(state_ >> 56);
    }
    std::fill_n(row.scales, size_ / kMxBlockSize, static_cast<std::byte>(scale_));
  }

 private:
  static constexpr float kLargest = 6.0f;  // of the codes' values
  uint64_t state_;
  int64_t size_;
  int scale_;  // E8M0
};

struct Batch {
  std::vector<float> x;        // [T, H]
  std::vector<int32_t> ids;    // [T, K]
  std::vector<float> weights;  // [T, K]
};

// K different experts per token by Gumbel keys over Zipf(s) popularity, which experts are popular
// being random.
std::vector<int32_t> RandomRouting(const MoeBenchOptions& options) {
  const auto num_experts = static_cast<size_t>(options.num_experts);
  std::mt19937_64 random(options.seed);
  std::vector<double> log_popularity(num_experts);
  for (size_t e = 0; e < num_experts; ++e) {
    log_popularity[e] = -options.skew * std::log(static_cast<double>(e + 1));
  }
  std::shuffle(log_popularity.begin(), log_popularity.end(), random);
  std::vector<int32_t> ids;
  std::uniform_real_distribution<double> uniform(1e-12, 1.0);
  std::vector<double> key(num_experts);
  std::vector<int32_t> order(num_experts);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t t = 0; t < options.num_tokens; ++t) {
    for (size_t e = 0; e < num_experts; ++e) {
      key[e] = log_popularity[e] - std::log(-std::log(uniform(random)));
    }
    std::partial_sort(order.begin(), order.begin() + options.experts_per_token, order.end(),
                      [&](int32_t a, int32_t b) {
                        return key[static_cast<size_t>(a)] > key[static_cast<size_t>(b)];
                      });
    ids.insert(ids.end(), order.begin(), order.begin() + options.experts_per_token);
  }
  return ids;
}

Batch MakeBatch(const MoeBenchOptions& options) {
  Batch batch;
  batch.ids = options.routing.empty() ? RandomRouting(options) : options.routing;
  batch.weights.assign(batch.ids.size(), 1.0f / static_cast<float>(options.experts_per_token));
  batch.x.resize(static_cast<size_t>(options.num_tokens * options.hidden_size));
  RandomRows(options.seed, static_cast<int64_t>(batch.x.size()), 1.0f)(0, batch.x.data());
  return batch;
}

Result<PackedExperts> MakeExperts(const KernelTable& table, const MoeBenchOptions& options,
                                  WorkerPool& pool) {
  EXPERTILE_ASSIGN(PackedExperts experts,
                   PackedExperts::Create(table, {options.num_experts, options.hidden_size,
                                                 options.intermediate_size, options.weights,
                                                 /*has_bias=*/false}));
  const float scale = 1.0f / std::sqrt(static_cast<float>(options.hidden_size));
  pool.ForEach(options.num_experts, [&](int64_t e, int) {
    const uint64_t seed = options.seed + 2 * static_cast<uint64_t>(e);
    if (options.weights == WeightFormat::kMxfp4) {
      RandomMxfp4Rows in(seed, options.hidden_size, scale);
      RandomMxfp4Rows out(seed + 1, options.intermediate_size, scale);
      experts.PackMxfp4(static_cast<int>(e), {in, in, out});
      return;
    }
    RandomRows in(seed, options.hidden_size, scale);
    RandomRows out(seed + 1, options.intermediate_size, scale);
    experts.Pack(static_cast<int>(e), {in, in, out});
  });
  return experts;
}

// Arithmetic and bytes that the batch needs at least, and what share of the roof `result` reached.
void Account(const MoeBenchOptions& options, const PackedExperts& experts, const Batch& batch,
             const Roof& roof, MoeBenchResult& result) {
  std::vector<bool> chosen(static_cast<size_t>(options.num_experts));
  int64_t num_rows = 0;
  for (const int32_t id : batch.ids) {
    if (id == kNoExpert) continue;
    chosen[static_cast<size_t>(id)] = true;
    ++num_rows;
  }
  const auto num_chosen = std::count(chosen.begin(), chosen.end(), true);
  result.weight_bytes =
      static_cast<double>(num_chosen) * static_cast<double>(experts.bytes_per_expert());
  result.useful_flops = 6.0 * static_cast<double>(num_rows) *
                        static_cast<double>(options.hidden_size) *
                        static_cast<double>(options.intermediate_size);
  const bool is_float32 = options.compute == ComputeType::kFloat32;
  result.roof_flops = options.weights == WeightFormat::kMxint8 ? roof.int8_ops
                      : is_float32                             ? roof.float32_flops
                                                               : roof.bfloat16_flops;
  result.roof = roof;
  const double least =
      std::max(result.useful_flops / result.roof_flops, result.weight_bytes / roof.read_bytes);
  result.fraction_of_roof = least / result.seconds_median;
}

Status Check(const MoeBenchOptions& options) {
  if (options.experts_per_token < 1 || options.experts_per_token > options.num_experts ||
      options.num_tokens < 1 || options.num_repeats < 1) {
    return InvalidArgument("bench moe: E={} K={} T={}, expected 1 <= K <= E and T >= 1",
                           options.num_experts, options.experts_per_token, options.num_tokens);
  }
  const int64_t num_ids = options.num_tokens * options.experts_per_token;
  if (!options.routing.empty() && static_cast<int64_t>(options.routing.size()) != num_ids) {
    return InvalidArgument("bench moe: {} ids of a routing, expected {} tokens of {}",
                           options.routing.size(), options.num_tokens, options.experts_per_token);
  }
  return {};
}

// A layer blocked in one way, and how its runs went.
class Contestant {
 public:
  static Result<Contestant> Create(const KernelTable& table, const MoeBenchOptions& options,
                                   const MoeBlocking& blocking, int num_workers) {
    EXPERTILE_ASSIGN(std::optional<Placement> placement,
                     Placement::CreateIfBlocked(options.num_experts, blocking.num_nsp));
    EXPERTILE_ASSIGN(
        MoeBlock block,
        MoeBlock::Create(table, options.compute,
                         {options.num_tokens, options.experts_per_token, options.hidden_size,
                          options.intermediate_size, blocking.packed_chunk_size},
                         std::move(placement), num_workers));
    return Contestant(std::move(block));
  }

  Status Run(const RoutedTokens& tokens, const PackedExperts& experts, const GatedMlpSpec& mlp,
             WorkerPool& pool, float* out, bool is_timed) {
    MoeStats stats;
    const Stopwatch watch;
    EXPERTILE_RETURN_IF_ERROR(block_.Run(tokens, experts, mlp, pool, out, &stats));
    const double seconds = watch.seconds();
    if (is_timed) runs_.push_back({seconds, stats.nsps().imbalance(), stats.workers().imbalance()});
    return {};
  }

  MoeBenchResult Median() const {
    MoeBenchResult result;
    for (const Timed& run : runs_) result.seconds.push_back(run.seconds);
    std::vector<Timed> sorted = runs_;
    std::ranges::sort(sorted, {}, &Timed::seconds);
    const Timed& median = sorted[sorted.size() / 2];
    result.seconds_median = median.seconds;
    result.nsp_imbalance = median.nsp_imbalance;
    result.worker_imbalance = median.worker_imbalance;
    return result;
  }

 private:
  struct Timed {
    double seconds;
    double nsp_imbalance;
    double worker_imbalance;
  };

  explicit Contestant(MoeBlock block) : block_(std::move(block)) {}

  MoeBlock block_;
  std::vector<Timed> runs_;
};

}  // namespace

Result<std::vector<MoeBenchResult>> BenchMoe(const KernelTable& table,
                                             const MoeBenchOptions& options, WorkerPool& pool) {
  EXPERTILE_RETURN_IF_ERROR(Check(options));
  EXPERTILE_ASSIGN(PackedExperts experts, MakeExperts(table, options, pool));
  const Batch batch = MakeBatch(options);
  std::vector<Contestant> contestants;
  for (const MoeBlocking& blocking : options.blockings) {
    EXPERTILE_ASSIGN(Contestant contestant,
                     Contestant::Create(table, options, blocking, pool.size()));
    contestants.push_back(std::move(contestant));
  }
  EXPERTILE_ASSIGN(RoofProbe probe, RoofProbe::Create(table, pool));
  const RoutedTokens tokens = {batch.x.data(), batch.ids, batch.weights, options.num_tokens,
                               options.experts_per_token};
  std::vector<float> out(batch.x.size());
  std::vector<Roof> roofs;
  for (int turn = -1; turn < options.num_repeats; ++turn) {  // the first warms up
    roofs.push_back(probe.Measure());
    for (size_t i = 0; i < contestants.size(); ++i) {
      Contestant& next = contestants[(i + static_cast<size_t>(turn + 1)) % contestants.size()];
      EXPERTILE_RETURN_IF_ERROR(
          next.Run(tokens, experts, options.mlp, pool, out.data(), /*is_timed=*/turn >= 0));
    }
  }
  const Roof roof = MedianRoof(std::move(roofs));
  std::vector<MoeBenchResult> results;
  for (const Contestant& contestant : contestants) {
    results.push_back(contestant.Median());
    Account(options, experts, batch, roof, results.back());
  }
  return results;
}

}  // namespace expertile::cpu
