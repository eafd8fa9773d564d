#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/program_source.h"
#include "cli/progress.h"
#include "expertile/evaluation.h"
#include "expertile/tokenizer.h"

namespace expertile::cli {
namespace {

struct Flags {
  std::string text_file;
  bool json = false;
  ProgramSource source;
};

void PrintEvaluation(const Evaluation& evaluation, bool json) {
  const double perplexity = std::exp(evaluation.mean_nll);
  if (json) {
    const nlohmann::ordered_json object{{"tokens", evaluation.tokens},
                                        {"mean_nll", evaluation.mean_nll},
                                        {"perplexity", perplexity},
                                        {"tokens_per_second", evaluation.tokens_per_second}};
    Print("{}\n", object.dump());
    return;
  }
  Print("tokens             {}\n", evaluation.tokens);
  Print("mean NLL           {:.6f} nats per token\n", evaluation.mean_nll);
  Print("perplexity         {:.4f}\n", perplexity);
  Print("tokens per second  {:.1f}\n", evaluation.tokens_per_second);
}

Status Eval(const Flags& flags) {
  EXPERTILE_ASSIGN(const std::string text, ReadFile(flags.text_file));
  EXPERTILE_ASSIGN(const Program program, OpenProgram(flags.source));
  EXPERTILE_ASSIGN(const TextTokenizer tokenizer, TextTokenizer::Load(program.model_folder()));
  EXPERTILE_ASSIGN(const std::vector<int32_t> ids, tokenizer.Encode(text));
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  Progress progress("evaluating");
  EXPERTILE_ASSIGN(
      const Evaluation evaluation,
      Evaluate(session, ids, [&](int64_t done, int64_t total) { progress.Show(done, total); }));
  progress.Clear();
  PrintEvaluation(evaluation, flags.json);
  return {};
}

}  // namespace

CommandBody AddEvalCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddProgramSource(app, flags->source);
  app.add_option("--text-file", flags->text_file, "UTF-8 text to predict")->required();
  app.add_flag("--json", flags->json,
               "One JSON object: tokens, mean_nll, perplexity, tokens_per_second");
  return [flags] { return Eval(*flags); };
}

}  // namespace expertile::cli
