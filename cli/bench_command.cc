#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/command.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/program_source.h"
#include "expertile/bench.h"

namespace expertile::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxWorkers = 1024;

void Row(const char* name, const std::string& value) { Print("{:<20}{}\n", name, value); }

void PrintRoofRows(const Roof& roof) {
  Row("roof float32", fmt::format("{:.4f} TFLOP/s", roof.float32_tflops));
  Row("roof bfloat16", fmt::format("{:.4f} TFLOP/s", roof.bfloat16_tflops));
  if (roof.int8_tops) Row("roof int8", fmt::format("{:.4f} TOP/s", *roof.int8_tops));
  Row("roof read", fmt::format("{:.2f} GB/s", roof.read_gbs));
}

Json NspJson(const std::optional<int>& num_nsp) { return num_nsp ? Json(*num_nsp) : Json("none"); }

std::string NspText(const std::optional<int>& num_nsp) {
  return num_nsp ? fmt::format("{}", *num_nsp) : "none";
}

Status BenchRoofCommand(int num_workers, bool json) {
  EXPERTILE_ASSIGN(const Roof roof, MeasureRoof(num_workers));
  if (json) {
    Json tflops{{"float32", roof.float32_tflops}, {"bfloat16", roof.bfloat16_tflops}};
    tflops["int8"] = roof.int8_tops ? Json(*roof.int8_tops) : Json(nullptr);
    const Json object{{"isa", roof.isa},
                      {"workers", roof.workers},
                      {"tflops", tflops},
                      {"read_gbs", roof.read_gbs}};
    Print("{}\n", object.dump());
    return {};
  }
  Row("instruction set", roof.isa);
  Row("workers", fmt::format("{}", roof.workers));
  PrintRoofRows(roof);
  return {};
}

Status BenchMoeCommand(const MoeBenchOptions& options, bool json) {
  EXPERTILE_ASSIGN(const MoeBenchResult result, BenchMoe(options));
  if (json) {
    const Json object{{"shape", options.shape.name},
                      {"tokens", result.tokens},
                      {"num_nsp", NspJson(result.num_nsp)},
                      {"packed_chunk_size", options.packed_chunk_size},
                      {"dtype", options.dtype},
                      {"arithmetic", result.arithmetic},
                      {"isa", result.isa},
                      {"seconds_median", result.seconds_median},
                      {"tflops", result.tflops},
                      {"weight_bytes", result.bytes},
                      {"roof_tflops", result.roof_tflops},
                      {"roof_gbs", result.roof.read_gbs},
                      {"fraction_of_roof", result.fraction_of_roof},
                      {"nsp_imbalance", result.nsp_imbalance},
                      {"worker_imbalance", result.worker_imbalance},
                      {"padding_waste", result.padding_waste}};
    Print("{}\n", object.dump());
    return {};
  }
  const MoeShape& shape = options.shape;
  Row("shape", fmt::format("{}: E={} K={} H={} I={}", shape.name, shape.num_experts,
                           shape.experts_per_token, shape.hidden_size, shape.intermediate_size));
  Row("tokens", fmt::format("{}", result.tokens));
  Row("blocking", fmt::format("num_nsp {}, packed_chunk_size {}", NspText(result.num_nsp),
                              options.packed_chunk_size));
  Row("arithmetic", fmt::format("weights in {}, products in {} on {}, {} workers", options.dtype,
                                result.arithmetic, result.isa, result.roof.workers));
  Row("time", fmt::format("{:.3f} ms (median)", result.seconds_median * 1e3));
  Row("useful", fmt::format("{:.4f} TFLOP/s", result.tflops));
  Row("weights touched", fmt::format("{:.1f} MB", result.bytes * 1e-6));
  Row("of the roof", fmt::format("{:.1f} % ({} binds)", result.fraction_of_roof * 100.0,
                                 result.is_bandwidth_bound ? "bandwidth" : "arithmetic"));
  Row("imbalance", fmt::format("workers {:.3f}, NSPs' experts {:.3f} (max / mean busy time)",
                               result.worker_imbalance, result.nsp_imbalance));
  Row("padding waste", fmt::format("{:.1f} %", result.padding_waste * 100.0));
  PrintRoofRows(result.roof);
  return {};
}

Status BenchModelCommand(const ProgramSource& source, const ModelBenchOptions& options, bool json) {
  EXPERTILE_ASSIGN(const Program program, OpenProgram(source));
  EXPERTILE_ASSIGN(const ModelBenchResult result, BenchModel(program, options));
  const std::string& dtype = program.options().dtype;
  const int num_layers = program.description().num_layers;
  if (json) {
    const Json object{{"model", source.path},
                      {"layers", num_layers},
                      {"tokens", options.tokens},
                      {"num_nsp", NspJson(result.num_nsp)},
                      {"dtype", dtype},
                      {"isa", result.isa},
                      {"prefill_seconds_median", result.prefill_seconds_median},
                      {"prefill_tokens_per_second", result.prefill_tokens_per_second},
                      {"prefill_tflops", result.prefill_tflops},
                      {"decode_seconds_per_token_median", result.decode_seconds_per_token_median},
                      {"worker_imbalance", result.worker_imbalance},
                      {"roof_tflops", result.roof_tflops},
                      {"roof_gbs", result.roof.read_gbs}};
    Print("{}\n", object.dump());
    return {};
  }
  Row("model", fmt::format("{}, {} layers", source.path, num_layers));
  Row("arithmetic", fmt::format("{} on {}, {} workers", dtype, result.isa, result.roof.workers));
  Row("prefill",
      fmt::format("{} tokens in {:.3f} ms (median), {:.1f} tokens/s", options.tokens,
                  result.prefill_seconds_median * 1e3, result.prefill_tokens_per_second));
  Row("useful",
      fmt::format("{:.4f} TFLOP/s, {:.1f} % of the arithmetic roof", result.prefill_tflops,
                  result.prefill_tflops / result.roof_tflops * 100.0));
  Row("imbalance", fmt::format("{:.3f} (max / mean busy time of the workers in MoE layers)",
                               result.worker_imbalance));
  Row("decode",
      fmt::format("{:.3f} ms a token (median)", result.decode_seconds_per_token_median * 1e3));
  PrintRoofRows(result.roof);
  return {};
}

}  // namespace

CommandBody AddBenchCommand(CLI::App& app) {
  struct Flags {
    bool json = false;
    std::string shape = "qwen3-30b-a3b";
    std::string num_nsp = "none";
    ProgramSource source;
    MoeBenchOptions moe;
    ModelBenchOptions whole;
  };
  auto flags = std::make_shared<Flags>();
  app.require_subcommand(1);
  CLI::App* roof = app.add_subcommand("roof", "Peak FLOP/s per number format, and read bandwidth");
  CLI::App* moe = app.add_subcommand("moe", "One MoE layer on random weights and skewed routing");
  CLI::App* whole = app.add_subcommand("model", "Prefill and decode of a checkpoint or a program");
  for (CLI::App* command : {roof, moe, whole}) {
    command->add_flag("--json", flags->json, "One JSON object");
  }
  for (CLI::App* command : {roof, moe}) {
    AddInteger(*command, "--num-cores", flags->moe.num_workers, "Workers; 0 = all processors", 0,
               kMaxWorkers);
  }
  moe->add_option("--shape", flags->shape,
                  "qwen3-30b-a3b | gpt-oss-20b | gpt-oss-120b | granite-3b-a800m | E,K,H,I")
      ->capture_default_str();
  AddInteger(*moe, "--tokens", flags->moe.tokens, "T", 1);
  moe->add_option("--num-nsp", flags->num_nsp, "none | auto | 1 to E")->capture_default_str();
  AddInteger(*moe, "--packed-chunk-size", flags->moe.packed_chunk_size, "P", 1);
  moe->add_option("--dtype", flags->moe.dtype, "Of the weights: float32 | bfloat16 | mxfp4 | mxfp6")
      ->capture_default_str();
  moe->add_option("--arithmetic", flags->moe.arithmetic,
                  "Of the products: float32 | bfloat16 [as the weights; MX formats: float32]");
  AddReal(*moe, "--skew", flags->moe.skew, "Zipf exponent of expert popularity", {});
  moe->add_option("--routing", flags->moe.routing_file,
                  "A recorded routing in place of a random one: JSON [T][K], or what forward "
                  "--dump-moe wrote");
  AddInteger(*moe, "--routing-layer", flags->moe.routing_layer,
             "The layer of --routing's file [the first]", 0);
  AddInteger(*moe, "--runs", flags->moe.num_runs, "Timed runs", 1);
  AddProgramSource(*whole, flags->source);
  AddInteger(*whole, "--tokens", flags->whole.tokens, "Prompt tokens", 1);
  AddInteger(*whole, "--decode-tokens", flags->whole.decode_tokens, "Tokens to decode", 0);
  AddInteger(*whole, "--runs", flags->whole.num_runs, "Timed runs", 1);
  return [flags, roof, moe]() -> Status {
    if (roof->parsed()) return BenchRoofCommand(flags->moe.num_workers, flags->json);
    if (!moe->parsed()) return BenchModelCommand(flags->source, flags->whole, flags->json);
    EXPERTILE_ASSIGN(flags->moe.shape, ParseMoeShape(flags->shape));
    EXPERTILE_ASSIGN(flags->moe.num_nsp, ParseNumNsp("num-nsp", flags->num_nsp));
    return BenchMoeCommand(flags->moe, flags->json);
  };
}

}  // namespace expertile::cli
