// Times one MoE layer and prints the keys of `expertile bench moe --json`, one object a line.
// Not the command itself: for tuning and for the comparisons in bench/.
#include "targets/cpu/moe_bench.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "targets/cpu/isa.h"

namespace {

using expertile::cpu::ComputeType;
using expertile::cpu::MoeBenchOptions;
using expertile::cpu::WeightFormat;

struct Arguments {
  std::vector<int64_t> shape = {128, 8, 2048, 768};
  std::vector<int64_t> tokens = {512};
  std::string dtype = "float32";
  std::string weights;  // like dtype unless given
  int num_workers = static_cast<int>(std::thread::hardware_concurrency());
  MoeBenchOptions options;
};

int RunBench(const Arguments& arguments) {
  const auto isa = expertile::cpu::ChooseIsa();
  if (!isa) return std::fprintf(stderr, "moe_bench: %s\n", isa.error().message.c_str()), 1;
  const expertile::cpu::KernelTable& table = expertile::cpu::KernelsFor(*isa);
  expertile::WorkerPool pool(arguments.num_workers);
  for (const int64_t num_tokens : arguments.tokens) {
    MoeBenchOptions options = arguments.options;
    options.num_tokens = num_tokens;
    const auto result = expertile::cpu::BenchMoe(table, options, pool);
    if (!result) return std::fprintf(stderr, "moe_bench: %s\n", result.error().message.c_str()), 1;
    const nlohmann::json json = {
        {"shape", arguments.shape},
        {"tokens", num_tokens},
        {"num_nsp", options.blocking.num_nsp},
        {"packed_chunk_size", options.blocking.packed_chunk_size},
        {"dtype", arguments.dtype},
        {"isa", table.name},
        {"seconds_median", result->seconds_median},
        {"tflops", result->useful_flops / result->seconds_median * 1e-12},
        {"roof_tflops", result->roof_flops * 1e-12},
        {"roof_gbs", result->roof.read_bytes * 1e-9},
        {"weight_gbs", result->weight_bytes / result->seconds_median * 1e-9},
        {"fraction_of_roof", result->fraction_of_roof},
        {"nsp_imbalance", result->nsp_imbalance},
        {"padding_waste", result->padding_waste}};
    std::printf("%s\n", json.dump().c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("one MoE layer next to the machine's roof");
  Arguments arguments;
  MoeBenchOptions& options = arguments.options;
  options.blocking.num_nsp = 16;
  app.add_option("--shape", arguments.shape, "E,K,H,I")->delimiter(',')->expected(4);
  app.add_option("--tokens", arguments.tokens)->delimiter(',');
  app.add_option("--dtype", arguments.dtype)->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--weights", arguments.weights)->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--num-workers", arguments.num_workers)->check(CLI::PositiveNumber);
  app.add_option("--num-nsp", options.blocking.num_nsp, "0 = blocking off");
  app.add_option("--packed-chunk-size", options.blocking.packed_chunk_size);
  app.add_option("--skew", options.skew);
  app.add_option("--repeats", options.num_repeats);
  CLI11_PARSE(app, argc, argv);
  if (arguments.weights.empty()) arguments.weights = arguments.dtype;
  const bool bfloat16 = arguments.dtype == "bfloat16";
  options.compute = bfloat16 ? ComputeType::kBFloat16 : ComputeType::kFloat32;
  options.weights = bfloat16 || arguments.weights == "bfloat16" ? WeightFormat::kBFloat16
                                                                : WeightFormat::kFloat32;
  options.num_experts = static_cast<int>(arguments.shape[0]);
  options.experts_per_token = static_cast<int>(arguments.shape[1]);
  options.hidden_size = arguments.shape[2];
  options.intermediate_size = arguments.shape[3];
  return RunBench(arguments);
}
