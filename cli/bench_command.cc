#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/numbers.h"
#include "cli/program_source.h"
#include "expertile/bench.h"

namespace expertile::cli {
namespace {

constexpr int kMaxWorkers = 1024;

struct Flags {
  bool json = false;
  bool is_sweep = false;
  std::string shape = "qwen3-30b-a3b";
  std::string num_nsp = "none";
  ProgramSource source;
  int num_layers = 0;  // of a configuration alone; 0 = all
  MoeBenchOptions moe;
  ModelBenchOptions whole;
};

Status BenchRoofCommand(const Flags& flags) {
  EXPERTILE_ASSIGN(const Roof roof, MeasureRoof(flags.moe.target, flags.moe.num_workers));
  Report(roof, flags.json);
  return {};
}

Status BenchMoeCommand(const Flags& flags) {
  MoeBenchOptions options = flags.moe;
  EXPERTILE_ASSIGN(options.shape, ParseMoeShape(flags.shape));
  if (flags.is_sweep) {
    EXPERTILE_ASSIGN(const MoeSweepResult result, SweepMoe(options));
    Report(options, result, flags.json);
    return {};
  }
  EXPERTILE_ASSIGN(options.num_nsp, ParseNumNsp("num-nsp", flags.num_nsp));
  EXPERTILE_ASSIGN(const MoeBenchResult result, BenchMoe(options));
  Report(options, result, flags.json);
  return {};
}

// A checkpoint, a program, or a configuration alone.
Result<Program> OpenBenchedProgram(const Flags& flags) {
  const ProgramSource& source = flags.source;
  if (std::filesystem::is_regular_file(source.path)) {
    return Program::WithRandomWeights(source.path, flags.num_layers, source.options);
  }
  if (flags.num_layers == 0) return OpenProgram(source);
  return tl::unexpected(Error{ErrorCode::kInvalidArgument,
                              "--layers: " + source.path + " is a folder, expected a config.json"});
}

Status BenchModelCommand(const Flags& flags) {
  EXPERTILE_ASSIGN(const Program program, OpenBenchedProgram(flags));
  EXPERTILE_ASSIGN(const ModelBenchResult result, BenchModel(program, flags.whole));
  Report({flags.source.path, program.options().dtype, program.description().num_layers,
          flags.whole.tokens},
         result, flags.json);
  return {};
}

void AddMoeFlags(CLI::App& app, Flags& flags) {
  app.add_option("--shape", flags.shape,
                 "qwen3-30b-a3b | gpt-oss-20b | gpt-oss-120b | granite-3b-a800m | E,K,H,I")
      ->capture_default_str();
  AddInteger(app, "--tokens", flags.moe.tokens, "T", 1);
  CLI::Option* num_nsp =
      app.add_option("--num-nsp", flags.num_nsp, "none | auto | 1 to E")->capture_default_str();
  CLI::Option* chunk_size =
      AddParsed(app, "--packed-chunk-size", flags.moe.packed_chunk_size, "INT|auto", "P",
                [](const std::string& name, const std::string& text) -> Result<int64_t> {
                  if (text == "auto") return CompileOptions::kAutoChunkSize;
                  return ParseInteger(name, text, 1, std::numeric_limits<int>::max());
                });
  app.add_flag("--sweep", flags.is_sweep,
               "Numbers of NSPs, off among them, and chunk sizes in turns, beside what auto is")
      ->excludes(num_nsp)
      ->excludes(chunk_size);
  app.add_option(
      "--dtype", flags.moe.dtype,
      "Of the weights: float32 | bfloat16 | mxfp4 | mxfp6 | mxint8 [float32; cuda: bfloat16]");
  app.add_option(
      "--arithmetic", flags.moe.arithmetic,
      "Of the products: float32 | bfloat16 | mxint8 [as the weights; mxfp4, mxfp6: float32]");
  AddReal(app, "--skew", flags.moe.skew, "Zipf exponent of expert popularity", {});
  CLI::Option* routing =
      app.add_option("--routing", flags.moe.routing_file,
                     "A recorded routing in place of a random one: JSON [T][K], or what run "
                     "--save-routing or forward --dump-moe wrote");
  AddInteger(app, "--routing-layer", flags.moe.routing_layer,
             "The layer of --routing's file [the first]", 0)
      ->needs(routing);
  AddInteger(app, "--runs", flags.moe.num_runs, "Timed runs, or turns of a sweep", 1);
}

}  // namespace

CommandBody AddBenchCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.require_subcommand(1);
  CLI::App* roof = app.add_subcommand("roof", "Peak FLOP/s per number format, and read bandwidth");
  CLI::App* moe = app.add_subcommand("moe", "One MoE layer on random weights and skewed routing");
  CLI::App* whole = app.add_subcommand("model",
                                       "Prefill and decode of a checkpoint or a program, and where "
                                       "the time goes; or, on a device, of "
                                       "a config.json alone, with random weights");
  for (CLI::App* command : {roof, moe, whole}) {
    command->add_flag("--json", flags->json, "One JSON object");
  }
  for (CLI::App* command : {roof, moe}) {
    command->add_option("--target", flags->moe.target, "cpu, or a device's: cuda")
        ->capture_default_str();
    AddInteger(*command, "--num-cores", flags->moe.num_workers, "Workers; 0 = all processors", 0,
               kMaxWorkers);
  }
  AddMoeFlags(*moe, *flags);
  AddProgramSource(*whole, flags->source);
  AddInteger(*whole, "--layers", flags->num_layers, "Of a config.json alone: its first; 0 = all",
             0);
  AddInteger(*whole, "--tokens", flags->whole.tokens, "Prompt tokens", 1);
  AddInteger(*whole, "--decode-tokens", flags->whole.decode_tokens, "Tokens to decode", 0);
  AddInteger(*whole, "--runs", flags->whole.num_runs, "Timed runs", 1);
  return [flags, roof, moe]() -> Status {
    if (roof->parsed()) return BenchRoofCommand(*flags);
    return moe->parsed() ? BenchMoeCommand(*flags) : BenchModelCommand(*flags);
  };
}

}  // namespace expertile::cli
