#include "cli/bench_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "cli/output.h"

namespace expertile::cli {
namespace {

using Json = nlohmann::ordered_json;

void Row(const char* name, const std::string& value) { Print("{:<20}{}\n", name, value); }

void PrintJson(const Json& object) { Print("{}\n", object.dump()); }

void PrintRoofRows(const Roof& roof) {
  if (roof.float32_tflops > 0.0) {  // a device measures what it multiplies in
    Row("roof float32", fmt::format("{:.4f} TFLOP/s", roof.float32_tflops));
  }
  Row("roof bfloat16", fmt::format("{:.4f} TFLOP/s", roof.bfloat16_tflops));
  if (roof.int8_tops) Row("roof int8", fmt::format("{:.4f} TOP/s", *roof.int8_tops));
  Row("roof read", fmt::format("{:.2f} GB/s", roof.read_gbs));
}

void PrintShapeRows(const MoeShape& shape, int64_t tokens) {
  Row("shape", fmt::format("{}: E={} K={} H={} I={}", shape.name, shape.num_experts,
                           shape.experts_per_token, shape.hidden_size, shape.intermediate_size));
  Row("tokens", fmt::format("{}", tokens));
}

Json NspJson(const std::optional<int>& num_nsp) { return num_nsp ? Json(*num_nsp) : Json("none"); }

std::string NspText(const std::optional<int>& num_nsp) {
  return num_nsp ? fmt::format("{}", *num_nsp) : "none";
}

Json StagesJson(const std::vector<StageBench>& stages) {
  Json rows = Json::array();
  for (const StageBench& stage : stages) {
    const bool is_counted = stage.least_seconds > 0.0;
    rows.push_back(
        {{"stage", stage.name},
         {"seconds", stage.seconds},
         {"share", stage.share},
         {"flops", stage.flops},
         {"bytes", stage.bytes},
         {"bound", is_counted ? Json(stage.is_read_bound ? "read" : "multiply") : Json(nullptr)},
         {"fraction_of_roof", is_counted ? Json(stage.fraction_of_roof()) : Json(nullptr)}});
  }
  return rows;
}

double SecondsOf(const std::vector<StageBench>& stages) {
  double seconds = 0.0;
  for (const StageBench& stage : stages) seconds += stage.seconds;
  return seconds;
}

void PrintStages(const char* title, const std::vector<StageBench>& stages) {
  if (stages.empty()) {
    Print("\n{}: the target does not tell its stages' times\n", title);
    return;
  }
  Print("\n{:<16}{:>12}{:>9}{:>14}{:>13}  {:<9}{:>10}\n", title, "ms", "share", "GFLOP", "MB",
        "bound by", "of it");
  for (const StageBench& stage : stages) {
    Print("{:<16}{:>12.3f}{:>7.1f} %", stage.name, stage.seconds * 1e3, stage.share * 100.0);
    if (stage.least_seconds > 0.0) {
      Print("{:>14.4f}{:>13.3f}  {:<9}{:>8.1f} %", stage.flops * 1e-9, stage.bytes * 1e-6,
            stage.is_read_bound ? "read" : "multiply", stage.fraction_of_roof() * 100.0);
    }
    Print("\n");
  }
}

}  // namespace

void Report(const Roof& roof, bool json) {
  if (json) {
    Json tflops{{"float32", roof.float32_tflops}, {"bfloat16", roof.bfloat16_tflops}};
    tflops["int8"] = roof.int8_tops ? Json(*roof.int8_tops) : Json(nullptr);
    return PrintJson({{"isa", roof.isa},
                      {"workers", roof.workers},
                      {"tflops", tflops},
                      {"read_gbs", roof.read_gbs}});
  }
  Row("instruction set", roof.isa);
  Row("workers", fmt::format("{}", roof.workers));
  PrintRoofRows(roof);
}

void Report(const MoeBenchOptions& options, const MoeBenchResult& result, bool json) {
  if (json) {
    return PrintJson({{"shape", options.shape.name},
                      {"tokens", result.tokens},
                      {"num_nsp", NspJson(result.num_nsp)},
                      {"packed_chunk_size", result.packed_chunk_size},
                      {"dtype", result.dtype},
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
                      {"padding_waste", result.padding_waste}});
  }
  PrintShapeRows(options.shape, result.tokens);
  Row("blocking", fmt::format("num_nsp {}, packed_chunk_size {}", NspText(result.num_nsp),
                              result.packed_chunk_size));
  Row("arithmetic", fmt::format("weights in {}, products in {} on {}, {} workers", result.dtype,
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
}

void Report(const MoeBenchOptions& options, const MoeSweepResult& result, bool json) {
  const double best = result.rows[result.best].ratio_to_auto;
  if (json) {
    Json rows = Json::array();
    for (const MoeSweepRow& row : result.rows) {
      rows.push_back({{"num_nsp", NspJson(row.num_nsp)},
                      {"packed_chunk_size", row.packed_chunk_size},
                      {"seconds_median", row.seconds_median},
                      {"ratio_to_best", row.ratio_to_auto / best},
                      {"nsp_imbalance", row.nsp_imbalance},
                      {"worker_imbalance", row.worker_imbalance},
                      {"is_auto", row.is_auto}});
    }
    return PrintJson({{"shape", options.shape.name},
                      {"tokens", result.tokens},
                      {"dtype", result.dtype},
                      {"arithmetic", result.arithmetic},
                      {"isa", result.isa},
                      {"workers", result.roof.workers},
                      {"rows", rows},
                      {"auto_excess", result.auto_excess}});
  }
  PrintShapeRows(options.shape, result.tokens);
  Row("arithmetic", fmt::format("weights in {}, products in {} on {}, {} workers", result.dtype,
                                result.arithmetic, result.isa, result.roof.workers));
  Print("\n{:>8}{:>8}{:>14}{:>10}{:>10}{:>8}\n", "num_nsp", "chunk", "ms (median)", "to best",
        "workers", "NSPs");
  for (const MoeSweepRow& row : result.rows) {
    Print("{:>8}{:>8}{:>14.3f}{:>10.3f}{:>10.3f}{:>8.3f}{}\n", NspText(row.num_nsp),
          row.packed_chunk_size, row.seconds_median * 1e3, row.ratio_to_auto / best,
          row.worker_imbalance, row.nsp_imbalance, row.is_auto ? "  auto" : "");
  }
  Print(
      "\nauto takes {:.1f} % more than the best (medians of the ratios in each of {} turns); "
      "workers, NSPs: max / mean busy time\n",
      result.auto_excess * 100.0, options.num_runs);
}

void Report(const BenchedModel& model, const ModelBenchResult& result, bool json) {
  if (json) {
    return PrintJson({{"model", model.path},
                      {"layers", model.num_layers},
                      {"tokens", model.tokens},
                      {"num_nsp", NspJson(result.num_nsp)},
                      {"dtype", model.dtype},
                      {"isa", result.isa},
                      {"prefill_seconds_median", result.prefill_seconds_median},
                      {"prefill_tokens_per_second", result.prefill_tokens_per_second},
                      {"prefill_tflops", result.prefill_tflops},
                      {"decode_seconds_per_token_median", result.decode_seconds_per_token_median},
                      {"worker_imbalance", result.worker_imbalance},
                      {"roof_tflops", result.roof_tflops},
                      {"roof_gbs", result.roof.read_gbs},
                      {"prefill_fraction_of_roof", result.prefill_fraction_of_roof},
                      {"decode_fraction_of_roof", result.decode_fraction_of_roof},
                      {"are_stages_apart", result.are_stages_apart},
                      {"prefill_stages", StagesJson(result.prefill_stages)},
                      {"decode_stages", StagesJson(result.decode_stages)}});
  }
  Row("model", fmt::format("{}, {} layers", model.path, model.num_layers));
  Row("arithmetic",
      fmt::format("{} on {}, {} workers", model.dtype, result.isa, result.roof.workers));
  Row("prefill",
      fmt::format("{} tokens in {:.3f} ms (median), {:.1f} tokens/s", model.tokens,
                  result.prefill_seconds_median * 1e3, result.prefill_tokens_per_second));
  Row("useful",
      fmt::format("{:.4f} TFLOP/s, {:.1f} % of the arithmetic roof (attention not counted)",
                  result.prefill_tflops, result.prefill_tflops / result.roof_tflops * 100.0));
  Row("imbalance", fmt::format("{:.3f} (max / mean busy time of the workers in MoE layers)",
                               result.worker_imbalance));
  Row("decode",
      fmt::format("{:.3f} ms a token (median)", result.decode_seconds_per_token_median * 1e3));
  if (!result.prefill_stages.empty()) {
    Row("of the roof",
        fmt::format("prefill {:.1f} %, decode {:.1f} %: the least time that the roof allows each "
                    "stage, attention too, summed, over the time taken",
                    result.prefill_fraction_of_roof * 100.0,
                    result.decode_fraction_of_roof * 100.0));
  }
  PrintRoofRows(result.roof);
  if (result.are_stages_apart) {
    Row("stages",
        fmt::format("of further runs, in which kernels of two stages do not overlap: {:.3f} ms of "
                    "prefill, {:.3f} ms of a decoded token",
                    SecondsOf(result.prefill_stages) * 1e3, SecondsOf(result.decode_stages) * 1e3));
  }
  PrintStages("prefill", result.prefill_stages);
  if (result.decode_seconds_per_token_median > 0.0) PrintStages("decode", result.decode_stages);
}

}  // namespace expertile::cli
