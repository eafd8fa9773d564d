// The public benchmarks: shapes by name, the CPU target's probes, and whole models through
// sessions.
#include "expertile/bench.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "base/processors.h"
#include "base/worker_pool.h"
#include "benchmarks/routing_file.h"
#include "targets/cpu/moe_bench.h"
#include "targets/cpu/roof.h"

namespace expertile {
namespace {

// The public checkpoints' own sizes (their config.json).
const MoeShape kShapes[] = {
    {"qwen3-30b-a3b", 128, 8, 2048, 768},
    {"gpt-oss-20b", 32, 4, 2880, 2880},
    {"gpt-oss-120b", 128, 4, 2880, 2880},
    {"granite-3b-a800m", 40, 8, 1536, 512},
};

double MedianOf(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<int64_t>(values.size() / 2));
  return values[values.size() / 2];
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Roof PublicRoof(const cpu::Roof& roof, const cpu::KernelTable& table, int workers) {
  return {std::string(table.name),
          workers,
          roof.float32_flops * 1e-12,
          roof.bfloat16_flops * 1e-12,
          roof.int8_ops > 0.0 ? std::optional(roof.int8_ops * 1e-12) : std::nullopt,
          roof.read_bytes * 1e-9};
}

// The CPU target's arithmetic by name.
struct Arithmetic {
  std::string_view name;
  cpu::ComputeType type;
  double Roof::*tflops;
};
constexpr std::array kArithmetics = {
    Arithmetic{LongNameOf(DType::kF32), cpu::ComputeType::kFloat32, &Roof::float32_tflops},
    Arithmetic{LongNameOf(DType::kBF16), cpu::ComputeType::kBFloat16, &Roof::bfloat16_tflops}};
constexpr const Arithmetic& kFloat32 = kArithmetics[0];
constexpr const Arithmetic& kBFloat16 = kArithmetics[1];

// The CPU target's weights by name; `own` is the arithmetic that loses nothing of them.
struct Weights {
  std::string_view name;
  cpu::WeightFormat format;
  const Arithmetic& own;
};
constexpr std::array kWeights = {Weights{kFloat32.name, cpu::WeightFormat::kFloat32, kFloat32},
                                 Weights{kBFloat16.name, cpu::WeightFormat::kBFloat16, kBFloat16},
                                 Weights{"mxfp4", cpu::WeightFormat::kMxfp4, kFloat32},
                                 Weights{"mxfp6", cpu::WeightFormat::kMxfp6, kFloat32}};

template <typename Rows>
auto FindNamed(const Rows& rows, std::string_view option, std::string_view name)
    -> Result<const typename Rows::value_type*> {
  std::string names;
  for (const auto& row : rows) {
    if (row.name == name) return &row;
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return InvalidArgument("{}: {}, expected one of {}", option, OneLine(name), names);
}

// What a MoE layer's weights are in, and what they are multiplied in.
struct Numbers {
  cpu::WeightFormat weights = {};
  Arithmetic arithmetic = kFloat32;
};

Result<Numbers> NumbersOf(const MoeBenchOptions& options) {
  EXPERTILE_ASSIGN(const Weights* weights, FindNamed(kWeights, "dtype", options.dtype));
  if (options.arithmetic.empty()) return Numbers{weights->format, weights->own};
  EXPERTILE_ASSIGN(const Arithmetic* arithmetic,
                   FindNamed(kArithmetics, "arithmetic", options.arithmetic));
  if (arithmetic->type == cpu::ComputeType::kBFloat16 &&
      weights->format == cpu::WeightFormat::kFloat32) {
    return InvalidArgument("arithmetic: {}, which does not take weights in {}", arithmetic->name,
                           weights->name);
  }
  return Numbers{weights->format, *arithmetic};
}

Status CheckMoeOptions(const MoeBenchOptions& options) {
  const auto at_least_one = [](std::string_view name, int64_t value) -> Status {
    if (value < 1) return InvalidArgument("{}: {}, expected 1 or more", name, value);
    return {};
  };
  EXPERTILE_RETURN_IF_ERROR(at_least_one("tokens", options.tokens));
  EXPERTILE_RETURN_IF_ERROR(at_least_one("packed-chunk-size", options.packed_chunk_size));
  EXPERTILE_RETURN_IF_ERROR(at_least_one("runs", options.num_runs));
  const int E = options.shape.num_experts;
  if (options.num_nsp && *options.num_nsp != CompileOptions::kAutoNumNsp &&
      (*options.num_nsp < 1 || *options.num_nsp > E)) {
    return InvalidArgument("num-nsp: {}, expected 1 to {} (the number of experts)",
                           *options.num_nsp, E);
  }
  if (!(options.skew >= 0.0)) {
    return InvalidArgument("skew: {}, expected 0 or more", options.skew);
  }
  return {};
}

}  // namespace

Result<MoeShape> ParseMoeShape(const std::string& text) {
  for (const MoeShape& shape : kShapes) {
    if (shape.name == text) return shape;
  }
  MoeShape shape;
  shape.name = text;
  long long hidden = 0;
  long long intermediate = 0;
  char rest = 0;
  const int read = std::sscanf(text.c_str(), "%d,%d,%lld,%lld%c", &shape.num_experts,
                               &shape.experts_per_token, &hidden, &intermediate, &rest);
  shape.hidden_size = hidden;
  shape.intermediate_size = intermediate;
  if (read != 4 || shape.num_experts < 1 || shape.experts_per_token < 1 ||
      shape.experts_per_token > shape.num_experts || hidden < 1 || intermediate < 1) {
    return InvalidArgument(
        "shape: {}, expected qwen3-30b-a3b, gpt-oss-20b, gpt-oss-120b, granite-3b-a800m or E,K,H,I "
        "with K at most E",
        text);
  }
  return shape;
}

Result<Roof> MeasureRoof(int num_workers) {
  EXPERTILE_ASSIGN(const cpu::Isa isa, cpu::ChooseIsa());
  const cpu::KernelTable& table = cpu::KernelsFor(isa);
  WorkerPool pool(num_workers > 0 ? num_workers : NumUsableProcessors());
  EXPERTILE_ASSIGN(const cpu::Roof roof, cpu::MeasureRoof(table, pool));
  return PublicRoof(roof, table, pool.size());
}

Result<MoeBenchResult> BenchMoe(const MoeBenchOptions& options) {
  EXPERTILE_RETURN_IF_ERROR(CheckMoeOptions(options));
  EXPERTILE_ASSIGN(const Numbers numbers, NumbersOf(options));
  EXPERTILE_ASSIGN(const cpu::Isa isa, cpu::ChooseIsa());
  const cpu::KernelTable& table = cpu::KernelsFor(isa);
  WorkerPool pool(options.num_workers > 0 ? options.num_workers : NumUsableProcessors());
  MoeBenchResult result;
  cpu::MoeBenchOptions bench;
  bench.num_experts = options.shape.num_experts;
  bench.experts_per_token = options.shape.experts_per_token;
  bench.hidden_size = options.shape.hidden_size;
  bench.intermediate_size = options.shape.intermediate_size;
  bench.weights = numbers.weights;
  bench.compute = numbers.arithmetic.type;
  bench.num_tokens = options.tokens;
  if (!options.routing_file.empty()) {
    EXPERTILE_ASSIGN(bench.routing, ReadRouting(options.routing_file, options.routing_layer,
                                                bench.experts_per_token, bench.num_experts));
    bench.num_tokens = static_cast<int64_t>(bench.routing.size()) / bench.experts_per_token;
  }
  result.tokens = bench.num_tokens;
  const bool is_auto = options.num_nsp == CompileOptions::kAutoNumNsp;
  result.num_nsp = is_auto ? std::min(pool.size(), bench.num_experts) : options.num_nsp;
  bench.blocking = {result.num_nsp.value_or(0), options.packed_chunk_size};
  bench.skew = options.skew;
  bench.num_repeats = options.num_runs;
  EXPERTILE_ASSIGN(const cpu::MoeBenchResult measured, cpu::BenchMoe(table, bench, pool));
  result.isa = table.name;
  result.arithmetic = numbers.arithmetic.name;
  result.seconds_median = measured.seconds_median;
  result.tflops = measured.useful_flops / measured.seconds_median * 1e-12;
  result.bytes = measured.weight_bytes;
  result.fraction_of_roof = measured.fraction_of_roof;
  result.is_bandwidth_bound = measured.weight_bytes / measured.roof.read_bytes >
                              measured.useful_flops / measured.roof_flops;
  result.nsp_imbalance = measured.nsp_imbalance;
  result.worker_imbalance = measured.worker_imbalance;
  result.padding_waste = measured.padding_waste;
  result.roof = PublicRoof(measured.roof, table, pool.size());
  result.roof_tflops = result.roof.*numbers.arithmetic.tflops;
  return result;
}

namespace {

// FLOP of a prefill of `tokens` tokens: two for each active matrix element and token; the LM head
// for one token.
double PrefillFlops(const ModelDescription& m, int64_t tokens) {
  const double head = static_cast<double>(m.vocab_size) * static_cast<double>(m.hidden_size);
  const double per_token = static_cast<double>(m.num_active_parameters) - head;
  return 2.0 * (per_token * static_cast<double>(tokens) + head);
}

struct ModelTimes {
  std::vector<double> prefill;
  std::vector<double> decode;  // of one token each
};

// One prefill and the decode steps after it, on an emptied session.
Status RunOnce(Session& session, const std::vector<int32_t>& ids, int64_t decode_tokens,
               ModelTimes& times) {
  EXPERTILE_RETURN_IF_ERROR(session.Clear(0));
  const Extension prompt{0, ids};
  auto start = std::chrono::steady_clock::now();
  EXPERTILE_RETURN_IF_ERROR(session.Prefill({&prompt, 1}));
  times.prefill.push_back(SecondsSince(start));
  for (int64_t i = 0; i < decode_tokens; ++i) {
    const Extension next{0, std::span(ids).first(1)};
    start = std::chrono::steady_clock::now();
    EXPERTILE_RETURN_IF_ERROR(session.Decode({&next, 1}));
    times.decode.push_back(SecondsSince(start));
  }
  return {};
}

}  // namespace

Result<ModelBenchResult> BenchModel(const Model& model, const ModelBenchOptions& options) {
  EXPERTILE_ASSIGN(const Program program, model.Compile(options.compile));
  return BenchModel(program, options);
}

Result<ModelBenchResult> BenchModel(const Program& program, const ModelBenchOptions& options) {
  if (options.tokens < 1 || options.decode_tokens < 0 || options.num_runs < 1) {
    return InvalidArgument("tokens: {}, decode-tokens: {}, runs: {}, expected 1, 0 and 1 or more",
                           options.tokens, options.decode_tokens, options.num_runs);
  }
  EXPERTILE_ASSIGN(const Arithmetic* arithmetic,
                   FindNamed(kArithmetics, "dtype", program.options().dtype));
  const ModelDescription& description = program.description();
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  // Ids spread over the vocabulary, so that routing is not one token's.
  std::vector<int32_t> ids;
  uint32_t state = 1;
  for (int64_t t = 0; t < options.tokens; ++t) {
    state = state * 1664525u + 1013904223u;
    ids.push_back(static_cast<int32_t>((state >> 8) % description.vocab_size));
  }
  ModelTimes warm_up;
  EXPERTILE_RETURN_IF_ERROR(
      RunOnce(session, ids, std::min<int64_t>(1, options.decode_tokens), warm_up));
  const NspLoad before = session.nsp_load();
  ModelTimes times;
  for (int run = 0; run < options.num_runs; ++run) {
    EXPERTILE_RETURN_IF_ERROR(RunOnce(session, ids, options.decode_tokens, times));
  }
  const NspLoad after = session.nsp_load();
  ModelBenchResult result;
  const double mean = after.mean_worker_seconds - before.mean_worker_seconds;
  if (mean > 0.0) {
    result.worker_imbalance = (after.busiest_worker_seconds - before.busiest_worker_seconds) / mean;
  }
  result.isa = program.isa();
  result.num_nsp = program.options().moe_prefill_num_nsp;
  result.prefill_seconds_median = MedianOf(times.prefill);
  result.prefill_tokens_per_second =
      static_cast<double>(options.tokens) / result.prefill_seconds_median;
  result.prefill_tflops =
      PrefillFlops(description, options.tokens) / result.prefill_seconds_median * 1e-12;
  if (!times.decode.empty()) result.decode_seconds_per_token_median = MedianOf(times.decode);
  EXPERTILE_ASSIGN(result.roof, MeasureRoof(program.options().num_cores));
  result.roof_tflops = result.roof.*arithmetic->tflops;
  return result;
}

}  // namespace expertile
