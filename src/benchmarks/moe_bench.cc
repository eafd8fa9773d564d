// BenchMoe and SweepMoe: one MoE layer on the CPU target, blocked in one way or in many.
#include "targets/cpu/moe_bench.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/processors.h"
#include "base/worker_pool.h"
#include "benchmarks/numbers.h"
#include "benchmarks/routing_file.h"
#include "dispatch/auto_blocking.h"
#include "expertile/bench.h"

namespace expertile {
namespace {

// The public checkpoints' own sizes (their config.json).
const MoeShape kShapes[] = {
    {"qwen3-30b-a3b", 128, 8, 2048, 768},
    {"gpt-oss-20b", 32, 4, 2880, 2880},
    {"gpt-oss-120b", 128, 4, 2880, 2880},
    {"granite-3b-a800m", 40, 8, 1536, 512},
};

// A sweep's chunk sizes beside auto's.
constexpr std::array<int64_t, 5> kSweptChunkSizes = {64, 128, 256, 512, 1024};

Status CheckMoeOptions(const MoeBenchOptions& options) {
  const auto at_least_one = [](std::string_view name, int64_t value) -> Status {
    if (value < 1) return InvalidArgument("{}: {}, expected 1 or more", name, value);
    return {};
  };
  EXPERTILE_RETURN_IF_ERROR(at_least_one("tokens", options.tokens));
  if (options.packed_chunk_size != CompileOptions::kAutoChunkSize) {
    EXPERTILE_RETURN_IF_ERROR(at_least_one("packed-chunk-size", options.packed_chunk_size));
  }
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
  if (options.routing_layer && options.routing_file.empty()) {
    return InvalidArgument("routing-layer: {}, of no file: expected routing beside it",
                           *options.routing_layer);
  }
  return {};
}

// What a bench of one layer needs, made from its options.
struct Layer {
  MoeNumbers numbers;
  const cpu::KernelTable& table;
  cpu::MoeBenchOptions options;
  AutoBlocking auto_blocking;
};

Result<Layer> LayerOf(const MoeBenchOptions& options, int num_workers) {
  EXPERTILE_RETURN_IF_ERROR(CheckMoeOptions(options));
  EXPERTILE_ASSIGN(const MoeNumbers numbers, MoeNumbersOf(options));
  EXPERTILE_ASSIGN(const cpu::Isa isa, cpu::ChooseIsa());
  Layer layer{numbers, cpu::KernelsFor(isa), {}, {}};
  cpu::MoeBenchOptions& bench = layer.options;
  bench.num_experts = options.shape.num_experts;
  bench.experts_per_token = options.shape.experts_per_token;
  bench.hidden_size = options.shape.hidden_size;
  bench.intermediate_size = options.shape.intermediate_size;
  bench.weights = numbers.weights;
  bench.compute = numbers.arithmetic.type;
  bench.num_tokens = options.tokens;
  bench.skew = options.skew;
  bench.num_repeats = options.num_runs;
  if (!options.routing_file.empty()) {
    EXPERTILE_ASSIGN(bench.routing, ReadRouting(options.routing_file, options.routing_layer,
                                                bench.experts_per_token, bench.num_experts));
    bench.num_tokens = static_cast<int64_t>(bench.routing.size()) / bench.experts_per_token;
  }
  layer.auto_blocking = ChooseBlocking(bench.num_experts, num_workers);
  return layer;
}

// As asked for, with what auto stands for: num_nsp, none for blocking off, and packed_chunk_size.
std::pair<std::optional<int>, int64_t> BlockingOf(const MoeBenchOptions& options,
                                                  const AutoBlocking& chosen) {
  const bool is_auto = options.num_nsp == CompileOptions::kAutoNumNsp;
  const bool is_auto_size = options.packed_chunk_size == CompileOptions::kAutoChunkSize;
  return {is_auto ? chosen.num_nsp : options.num_nsp,
          is_auto_size ? chosen.packed_chunk_size : options.packed_chunk_size};
}

// Blocking off and numbers of NSPs at auto's chunk size, then chunk sizes at auto's number; each
// once, auto's own among them.
std::vector<MoeBlocking> SweptBlockings(const AutoBlocking& chosen, int num_workers,
                                        int num_experts) {
  std::vector<int> nsps = {
      0, 1, 2, 4, num_workers / 2, num_workers, 2 * num_workers, num_experts, chosen.num_nsp};
  for (int n = 64; n < num_experts; n *= 2) nsps.push_back(n);
  std::erase_if(nsps, [&](int n) { return n > num_experts; });
  std::ranges::sort(nsps);
  nsps.erase(std::unique(nsps.begin(), nsps.end()), nsps.end());
  std::vector<MoeBlocking> blockings;
  for (const int n : nsps) blockings.push_back({n, chosen.packed_chunk_size});
  for (const int64_t size : kSweptChunkSizes) {
    if (size != chosen.packed_chunk_size) blockings.push_back({chosen.num_nsp, size});
  }
  return blockings;
}

std::optional<int> PublicNumNsp(int num_nsp) {
  return num_nsp == 0 ? std::nullopt : std::optional(num_nsp);
}

double MedianRatio(const std::vector<double>& times, const std::vector<double>& to) {
  std::vector<double> ratios;
  for (size_t i = 0; i < times.size(); ++i) ratios.push_back(times[i] / to[i]);
  return MedianOf(std::move(ratios));
}

int WorkersOf(const MoeBenchOptions& options) {
  return options.num_workers > 0 ? options.num_workers : NumUsableProcessors();
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

namespace {

// A bench of a layer on a device, made from its options.
struct DeviceLayer {
  MoeBenchOptions options;
  std::vector<int32_t> routing;  // [T,K]; empty: a random one
  AutoBlocking auto_blocking;
};

Result<DeviceLayer> DeviceLayerOf(const TargetRow& row, const MoeBenchOptions& options) {
  EXPERTILE_RETURN_IF_ERROR(CheckMoeOptions(options));
  const int E = options.shape.num_experts;
  DeviceLayer layer{options, {}, ChooseBlocking(E, std::max(row.default_cores, 1))};
  const std::string own(NameOf(row.arithmetics[0]));
  if (layer.options.dtype.empty()) layer.options.dtype = own;
  if (layer.options.arithmetic.empty()) layer.options.arithmetic = own;
  if (layer.options.arithmetic != own) {
    return InvalidArgument("arithmetic: {}, the target {} has {} only", OneLine(options.arithmetic),
                           row.name, own);
  }
  if (options.routing_file.empty()) return layer;
  EXPERTILE_ASSIGN(layer.routing, ReadRouting(options.routing_file, options.routing_layer,
                                              options.shape.experts_per_token, E));
  layer.options.tokens =
      static_cast<int64_t>(layer.routing.size()) / options.shape.experts_per_token;
  std::erase(layer.routing, kNoExpert);  // padded rows are all of it
  if (!layer.routing.empty()) return layer;
  return InvalidArgument("routing: {}, no token of which has an expert", options.routing_file);
}

// What `seconds` are of the roof.
MoeBenchResult ResultOf(const DeviceLayer& layer, const MoeRuns& runs, double seconds) {
  const MoeShape& shape = layer.options.shape;
  const double num_rows = layer.routing.empty()
                              ? static_cast<double>(layer.options.tokens) * shape.experts_per_token
                              : static_cast<double>(layer.routing.size());
  const double flops = 6.0 * num_rows * static_cast<double>(shape.hidden_size) *
                       static_cast<double>(shape.intermediate_size);
  const double multiply_time = flops / (runs.roof.bfloat16_tflops * 1e12);
  const double read_time = runs.bytes / (runs.roof.read_gbs * 1e9);
  MoeBenchResult result;
  result.isa = runs.roof.isa;
  result.tokens = layer.options.tokens;
  result.dtype = layer.options.dtype;
  result.arithmetic = layer.options.arithmetic;
  result.seconds_median = seconds;
  result.tflops = flops / seconds * 1e-12;
  result.bytes = runs.bytes;
  result.roof = runs.roof;
  result.roof_tflops = runs.roof.bfloat16_tflops;
  result.is_bandwidth_bound = read_time > multiply_time;
  result.fraction_of_roof = std::max(read_time, multiply_time) / seconds;
  result.nsp_imbalance = result.worker_imbalance = 1.0;  // the device does not tell
  return result;
}

Result<MoeBenchResult> BenchMoeOnDevice(const TargetRow& row, const MoeBenchOptions& options) {
  EXPERTILE_ASSIGN(const DeviceLayer layer, DeviceLayerOf(row, options));
  const auto [num_nsp, packed_chunk_size] = BlockingOf(options, layer.auto_blocking);
  const MoeBlocking blocking{num_nsp.value_or(0), packed_chunk_size};
  EXPERTILE_ASSIGN(const MoeRuns runs, row.bench.moe(layer.options, layer.routing, {&blocking, 1}));
  MoeBenchResult result = ResultOf(layer, runs, MedianOf(runs.seconds[0]));
  result.num_nsp = num_nsp;
  result.packed_chunk_size = packed_chunk_size;
  return result;
}

}  // namespace

Result<MoeBenchResult> BenchMoe(const MoeBenchOptions& options) {
  EXPERTILE_ASSIGN(const TargetRow* row, RowOfTarget(options.target));
  if (row->bench.moe != nullptr) return BenchMoeOnDevice(*row, options);
  const int num_workers = WorkersOf(options);
  EXPERTILE_ASSIGN(Layer layer, LayerOf(options, num_workers));
  MoeBenchResult result;
  std::tie(result.num_nsp, result.packed_chunk_size) = BlockingOf(options, layer.auto_blocking);
  layer.options.blockings = {{result.num_nsp.value_or(0), result.packed_chunk_size}};
  WorkerPool pool(num_workers);
  EXPERTILE_ASSIGN(const auto results, cpu::BenchMoe(layer.table, layer.options, pool));
  const cpu::MoeBenchResult& measured = results[0];
  result.tokens = layer.options.num_tokens;
  result.isa = layer.table.name;
  result.dtype = layer.numbers.name;
  result.arithmetic = layer.numbers.arithmetic.name;
  result.seconds_median = measured.seconds_median;
  result.tflops = measured.useful_flops / measured.seconds_median * 1e-12;
  result.bytes = measured.weight_bytes;
  result.fraction_of_roof = measured.fraction_of_roof;
  result.is_bandwidth_bound = measured.weight_bytes / measured.roof.read_bytes >
                              measured.useful_flops / measured.roof_flops;
  result.nsp_imbalance = measured.nsp_imbalance;
  result.worker_imbalance = measured.worker_imbalance;
  result.padding_waste = measured.padding_waste;
  result.roof = PublicRoof(measured.roof, layer.table, num_workers);
  result.roof_tflops = layer.numbers.arithmetic.tflops(result.roof);
  return result;
}

namespace {

// The rows of a sweep: the times of each blocking beside those of `chosen` in the same turns.
MoeSweepResult Compare(const std::vector<MoeBlocking>& blockings, const AutoBlocking& chosen,
                       const std::vector<std::vector<double>>& seconds) {
  const auto is_auto = [&](const MoeBlocking& blocking) {
    return blocking.num_nsp == chosen.num_nsp &&
           blocking.packed_chunk_size == chosen.packed_chunk_size;
  };
  const auto autos =
      static_cast<size_t>(std::ranges::find_if(blockings, is_auto) - blockings.begin());
  MoeSweepResult result;
  for (size_t i = 0; i < blockings.size(); ++i) {
    result.rows.push_back({.num_nsp = PublicNumNsp(blockings[i].num_nsp),
                           .packed_chunk_size = blockings[i].packed_chunk_size,
                           .seconds_median = MedianOf(seconds[i]),
                           .ratio_to_auto = MedianRatio(seconds[i], seconds[autos]),
                           .nsp_imbalance = 1.0,
                           .worker_imbalance = 1.0,
                           .is_auto = is_auto(blockings[i])});
    if (result.rows[i].ratio_to_auto < result.rows[result.best].ratio_to_auto) result.best = i;
  }
  result.auto_excess = 1.0 / result.rows[result.best].ratio_to_auto - 1.0;
  return result;
}

Result<MoeSweepResult> SweepMoeOnDevice(const TargetRow& row, const MoeBenchOptions& options) {
  // NSPs of a device are groups of its multiprocessors, of which auto knows nothing.
  constexpr int kSweptNsps = 16;
  EXPERTILE_ASSIGN(const DeviceLayer layer, DeviceLayerOf(row, options));
  const auto blockings = SweptBlockings(layer.auto_blocking, kSweptNsps, options.shape.num_experts);
  EXPERTILE_ASSIGN(const MoeRuns runs, row.bench.moe(layer.options, layer.routing, blockings));
  MoeSweepResult result = Compare(blockings, layer.auto_blocking, runs.seconds);
  result.isa = runs.roof.isa;
  result.dtype = layer.options.dtype;
  result.arithmetic = layer.options.arithmetic;
  result.tokens = layer.options.tokens;
  result.roof = runs.roof;
  return result;
}

}  // namespace

Result<MoeSweepResult> SweepMoe(const MoeBenchOptions& options) {
  EXPERTILE_ASSIGN(const TargetRow* row, RowOfTarget(options.target));
  if (row->bench.moe != nullptr) return SweepMoeOnDevice(*row, options);
  const int num_workers = WorkersOf(options);
  EXPERTILE_ASSIGN(Layer layer, LayerOf(options, num_workers));
  std::vector<MoeBlocking>& blockings = layer.options.blockings;
  blockings = SweptBlockings(layer.auto_blocking, num_workers, options.shape.num_experts);
  WorkerPool pool(num_workers);
  EXPERTILE_ASSIGN(const auto measured, cpu::BenchMoe(layer.table, layer.options, pool));
  std::vector<std::vector<double>> seconds;
  for (const cpu::MoeBenchResult& of : measured) seconds.push_back(of.seconds);
  MoeSweepResult result = Compare(blockings, layer.auto_blocking, seconds);
  for (size_t i = 0; i < measured.size(); ++i) {
    result.rows[i].nsp_imbalance = measured[i].nsp_imbalance;
    result.rows[i].worker_imbalance = measured[i].worker_imbalance;
  }
  result.isa = layer.table.name;
  result.dtype = layer.numbers.name;
  result.arithmetic = layer.numbers.arithmetic.name;
  result.tokens = layer.options.num_tokens;
  result.roof = PublicRoof(measured[0].roof, layer.table, num_workers);
  return result;
}

}  // namespace expertile
