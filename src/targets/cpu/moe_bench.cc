#include "targets/cpu/moe_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "base/error.h"
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

struct Batch {
  std::vector<float> x;        // [T, H]
  std::vector<int32_t> ids;    // [T, K]
  std::vector<float> weights;  // [T, K]
};

// K different experts per token by Gumbel keys over Zipf(s) popularity, which experts are popular
// being random.
Batch MakeBatch(const MoeBenchOptions& options) {
  const auto num_experts = static_cast<size_t>(options.num_experts);
  std::mt19937_64 random(options.seed);
  std::vector<double> log_popularity(num_experts);
  for (size_t e = 0; e < num_experts; ++e) {
    log_popularity[e] = -options.skew * std::log(static_cast<double>(e + 1));
  }
  std::shuffle(log_popularity.begin(), log_popularity.end(), random);
  Batch batch;
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
    batch.ids.insert(batch.ids.end(), order.begin(), order.begin() + options.experts_per_token);
  }
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
    RandomRows in(options.seed + 2 * static_cast<uint64_t>(e), options.hidden_size, scale);
    RandomRows out(options.seed + 2 * static_cast<uint64_t>(e) + 1, options.intermediate_size,
                   scale);
    experts.Pack(static_cast<int>(e), {in, in, out});
  });
  return experts;
}

double Imbalance(const MoeStats& stats) {
  double sum = 0.0;
  double largest = 0.0;
  for (const NspStats& nsp : stats.nsp) {
    sum += nsp.busy_seconds;
    largest = std::max(largest, nsp.busy_seconds);
  }
  return sum > 0.0 ? largest * static_cast<double>(stats.nsp.size()) / sum : 1.0;
}

// Arithmetic and bytes that the batch needs at least, and what share of the roof `result` reached.
void Account(const MoeBenchOptions& options, const PackedExperts& experts, const Batch& batch,
             const Roof& roof, MoeBenchResult& result) {
  std::vector<bool> chosen(static_cast<size_t>(options.num_experts));
  for (const int32_t id : batch.ids) chosen[static_cast<size_t>(id)] = true;
  const auto num_chosen = std::count(chosen.begin(), chosen.end(), true);
  result.weight_bytes =
      static_cast<double>(num_chosen) * static_cast<double>(experts.bytes_per_expert());
  result.useful_flops = 6.0 * static_cast<double>(batch.ids.size()) *
                        static_cast<double>(options.hidden_size) *
                        static_cast<double>(options.intermediate_size);
  result.roof_flops =
      options.compute == ComputeType::kFloat32 ? roof.float32_flops : roof.bfloat16_flops;
  result.roof = roof;
  const double least =
      std::max(result.useful_flops / result.roof_flops, result.weight_bytes / roof.read_bytes);
  result.fraction_of_roof = least / result.seconds_median;
}

}  // namespace

Result<MoeBenchResult> BenchMoe(const KernelTable& table, const MoeBenchOptions& options,
                                WorkerPool& pool) {
  if (options.experts_per_token < 1 || options.experts_per_token > options.num_experts ||
      options.num_tokens < 1 || options.num_repeats < 1) {
    return InvalidArgument("bench moe: E={} K={} T={}, expected 1 <= K <= E and T >= 1",
                           options.num_experts, options.experts_per_token, options.num_tokens);
  }
  EXPERTILE_ASSIGN(PackedExperts experts, MakeExperts(table, options, pool));
  const Batch batch = MakeBatch(options);
  EXPERTILE_ASSIGN(std::optional<Placement> placement,
                   Placement::CreateIfBlocked(options.num_experts, options.blocking.num_nsp));
  EXPERTILE_ASSIGN(MoeBlock block, MoeBlock::Create(table, options.compute,
                                                    {options.num_tokens, options.experts_per_token,
                                                     options.hidden_size, options.intermediate_size,
                                                     options.blocking.packed_chunk_size},
                                                    std::move(placement), pool.size()));
  EXPERTILE_ASSIGN(RoofProbe probe, RoofProbe::Create(table, pool));
  const RoutedTokens tokens = {batch.x.data(), batch.ids, batch.weights, options.num_tokens,
                               options.experts_per_token};
  std::vector<float> out(batch.x.size());
  std::vector<std::pair<double, double>> runs;  // seconds, imbalance
  std::vector<Roof> roofs;
  MoeStats stats;
  for (int repeat = -1; repeat < options.num_repeats; ++repeat) {  // the first warms up
    roofs.push_back(probe.Measure());
    const auto start = std::chrono::steady_clock::now();
    EXPERTILE_RETURN_IF_ERROR(block.Run(tokens, experts, options.mlp, pool, out.data(), &stats));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (repeat >= 0) runs.emplace_back(elapsed.count(), Imbalance(stats));
  }
  std::sort(runs.begin(), runs.end());
  MoeBenchResult result;
  std::tie(result.seconds_median, result.nsp_imbalance) = runs[runs.size() / 2];
  Account(options, experts, batch, MedianRoof(std::move(roofs)), result);
  return result;
}

}  // namespace expertile::cpu
