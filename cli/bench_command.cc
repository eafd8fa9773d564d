#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/command.h"
#include "expertile/bench.h"

namespace expertile::cli {
namespace {

using Json = nlohmann::ordered_json;

void Row(const char* name, const std::string& value) { fmt::print("{:<20}{}\n", name, value); }

void PrintRoofRows(const Roof& roof) {
  Row("roof float32", fmt::format("{:.4f} TFLOP/s", roof.float32_tflops));
  Row("roof bfloat16", fmt::format("{:.4f} TFLOP/s", roof.bfloat16_tflops));
  if (roof.int8_tops) Row("roof int8", fmt::format("{:.4f} TOP/s", *roof.int8_tops));
  Row("roof read", fmt::format("{:.2f} GB/s", roof.read_gbs));
}

double RoofTflops(const Roof& roof, const std::string& dtype) {
  return dtype == "bfloat16" ? roof.bfloat16_tflops : roof.float32_tflops;
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
    fmt::print("{}\n", object.dump());
    return {};
  }
  Row("instruction set", roof.isa);
  Row("workers", fmt::format("{}", roof.workers));
  PrintRoofRows(roof);
  return {};
}

Status BenchMoeCommand(const MoeBenchOptions& options, bool json) {
  EXPERTILE_ASSIGN(const MoeBenchResult result, BenchMoe(options));
  const double roof_tflops = RoofTflops(result.roof, options.dtype);
  if (json) {
    const Json object{{"shape", options.shape.name},
                      {"tokens", options.tokens},
                      {"num_nsp", NspJson(result.num_nsp)},
                      {"packed_chunk_size", options.packed_chunk_size},
                      {"dtype", options.dtype},
                      {"isa", result.isa},
                      {"seconds_median", result.seconds_median},
                      {"tflops", result.tflops},
                      {"roof_tflops", roof_tflops},
                      {"roof_gbs", result.roof.read_gbs},
                      {"fraction_of_roof", result.fraction_of_roof},
                      {"nsp_imbalance", result.nsp_imbalance},
                      {"padding_waste", result.padding_waste}};
    fmt::print("{}\n", object.dump());
    return {};
  }
  const MoeShape& shape = options.shape;
  Row("shape", fmt::format("{}: E={} K={} H={} I={}", shape.name, shape.num_experts,
                           shape.experts_per_token, shape.hidden_size, shape.intermediate_size));
  Row("tokens", fmt::format("{}", options.tokens));
  Row("blocking", fmt::format("num_nsp {}, packed_chunk_size {}", NspText(result.num_nsp),
                              options.packed_chunk_size));
  Row("arithmetic",
      fmt::format("{} on {}, {} workers", options.dtype, result.isa, result.roof.workers));
  Row("time", fmt::format("{:.3f} ms (median)", result.seconds_median * 1e3));
  Row("useful", fmt::format("{:.4f} TFLOP/s", result.tflops));
  Row("weights touched", fmt::format("{:.1f} MB", result.bytes * 1e-6));
  Row("of the roof", fmt::format("{:.1f} % ({} binds)", result.fraction_of_roof * 100.0,
                                 result.is_bandwidth_bound ? "bandwidth" : "arithmetic"));
  Row("NSP imbalance", fmt::format("{:.3f} (max / mean busy time)", result.nsp_imbalance));
  Row("padding waste", fmt::format("{:.1f} %", result.padding_waste * 100.0));
  PrintRoofRows(result.roof);
  return {};
}

Status BenchModelCommand(const std::string& folder, const ModelBenchOptions& options, bool json) {
  EXPERTILE_ASSIGN(const Model model, Model::Load(folder));
  EXPERTILE_ASSIGN(const ModelBenchResult result, BenchModel(model, options));
  const double roof_tflops = RoofTflops(result.roof, options.compile.dtype);
  if (json) {
    const Json object{{"model", folder},
                      {"layers", model.description().num_layers},
                      {"tokens", options.tokens},
                      {"num_nsp", NspJson(result.num_nsp)},
                      {"dtype", options.compile.dtype},
                      {"isa", result.isa},
                      {"prefill_seconds_median", result.prefill_seconds_median},
                      {"prefill_tokens_per_second", result.prefill_tokens_per_second},
                      {"prefill_tflops", result.prefill_tflops},
                      {"decode_seconds_per_token_median", result.decode_seconds_per_token_median},
                      {"roof_tflops", roof_tflops},
                      {"roof_gbs", result.roof.read_gbs}};
    fmt::print("{}\n", object.dump());
    return {};
  }
  Row("model", fmt::format("{}, {} layers", folder, model.description().num_layers));
  Row("arithmetic",
      fmt::format("{} on {}, {} workers", options.compile.dtype, result.isa, result.roof.workers));
  Row("prefill",
      fmt::format("{} tokens in {:.3f} ms (median), {:.1f} tokens/s", options.tokens,
                  result.prefill_seconds_median * 1e3, result.prefill_tokens_per_second));
  Row("useful", fmt::format("{:.4f} TFLOP/s, {:.1f} % of the arithmetic roof",
                            result.prefill_tflops, result.prefill_tflops / roof_tflops * 100.0));
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
    std::string model;
    MoeBenchOptions moe;
    ModelBenchOptions whole;
  };
  auto flags = std::make_shared<Flags>();
  app.require_subcommand(1);
  CLI::App* roof = app.add_subcommand("roof", "Peak FLOP/s per number format, and read bandwidth");
  CLI::App* moe = app.add_subcommand("moe", "One MoE layer on random weights and skewed routing");
  CLI::App* whole = app.add_subcommand("model", "Prefill and decode of a checkpoint");
  for (CLI::App* command : {roof, moe, whole}) {
    command->add_flag("--json", flags->json, "One JSON object");
  }
  for (CLI::App* command : {roof, moe}) {
    command->add_option("--num-cores", flags->moe.num_workers, "Workers [all processors]");
  }
  moe->add_option("--shape", flags->shape,
                  "qwen3-30b-a3b | gpt-oss-20b | gpt-oss-120b | granite-3b-a800m | E,K,H,I")
      ->capture_default_str();
  moe->add_option("--tokens", flags->moe.tokens, "T")->capture_default_str();
  moe->add_option("--num-nsp", flags->num_nsp, "none | auto | 1 to E")->capture_default_str();
  moe->add_option("--packed-chunk-size", flags->moe.packed_chunk_size, "P")->capture_default_str();
  moe->add_option("--dtype", flags->moe.dtype, "float32 | bfloat16")->capture_default_str();
  moe->add_option("--skew", flags->moe.skew, "Zipf exponent of expert popularity")
      ->capture_default_str();
  moe->add_option("--runs", flags->moe.num_runs, "Timed runs")->capture_default_str();
  AddModelArgument(*whole, flags->model);
  whole->add_option("--tokens", flags->whole.tokens, "Prompt tokens")->capture_default_str();
  whole->add_option("--decode-tokens", flags->whole.decode_tokens, "Tokens to decode")
      ->capture_default_str();
  whole->add_option("--runs", flags->whole.num_runs, "Timed runs")->capture_default_str();
  AddCompileFlags(*whole, flags->whole.compile);
  return [flags, roof, moe]() -> Status {
    if (roof->parsed()) return BenchRoofCommand(flags->moe.num_workers, flags->json);
    if (!moe->parsed()) return BenchModelCommand(flags->model, flags->whole, flags->json);
    EXPERTILE_ASSIGN(flags->moe.shape, ParseMoeShape(flags->shape));
    EXPERTILE_ASSIGN(flags->moe.num_nsp, ParseNumNsp("num-nsp", flags->num_nsp));
    return BenchMoeCommand(flags->moe, flags->json);
  };
}

}  // namespace expertile::cli
