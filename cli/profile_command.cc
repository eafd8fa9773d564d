#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/command.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/program_source.h"
#include "expertile/profile.h"
#include "expertile/tokenizer.h"

namespace expertile::cli {
namespace {

struct Flags {
  std::string prompt;
  std::string text_file;
  std::string output;
  bool json = false;
  ProgramSource source;
};

void PrintProfile(const MoeProfile& profile) {
  const MoeProfile::Balance& balance = profile.balance;
  Print("{} tokens through {} MoE layers on {} NSPs: {:.1f} ms\n", profile.num_tokens,
        profile.layers.size(), profile.num_nsp, profile.prefill_seconds * 1e3);
  Print("busiest NSP / mean      {:.2f}\n", balance.nsp_imbalance);
  Print("busiest worker / mean   {:.2f}, predicted for {} workers\n", balance.worker_imbalance,
        profile.num_cores);
  Print("chunks                  {}, {:.1f} of {} rows on average\n", balance.num_chunks,
        static_cast<double>(balance.num_rows) /
            static_cast<double>(std::max<int64_t>(1, balance.num_chunks)),
        profile.packed_chunk_size);
}

Status Profile(Flags flags) {
  std::string text = flags.prompt;
  if (!flags.text_file.empty()) {
    EXPERTILE_ASSIGN(text, ReadFile(flags.text_file));
  }
  EXPERTILE_RETURN_IF_ERROR(CheckOutput(flags.output));
  CompileOptions& options = flags.source.options;
  const bool is_checkpoint = !Program::IsProgram(flags.source.path);
  if (is_checkpoint && !options.moe_prefill_num_nsp) {
    options.moe_prefill_num_nsp = CompileOptions::kAutoNumNsp;
  }
  EXPERTILE_ASSIGN(const Program program, OpenProgram(flags.source));
  EXPERTILE_ASSIGN(const TextTokenizer tokenizer, TextTokenizer::Load(program.model_folder()));
  EXPERTILE_ASSIGN(const std::vector<int32_t> ids, tokenizer.Encode(text));
  EXPERTILE_ASSIGN(const MoeProfile profile, ProfilePrefill(program, ids));
  if (!flags.output.empty()) EXPERTILE_RETURN_IF_ERROR(WriteProfileReport(profile, flags.output));
  if (flags.json) {
    Print("{}\n", ProfileToJson(profile));
  } else {
    PrintProfile(profile);
  }
  return {};
}

}  // namespace

CommandBody AddProfileCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddProgramSource(app, flags->source);
  CLI::Option* prompt = app.add_option("--prompt", flags->prompt, "Text to prefill");
  CLI::Option* file = app.add_option("--text-file", flags->text_file, "UTF-8 text to prefill");
  prompt->excludes(file);
  app.add_option("-o,--output", flags->output,
                 "Write the report: one HTML page that needs nothing else");
  app.add_flag("--json", flags->json, "Print everything as one JSON object");
  app.footer("Of a checkpoint --moe-prefill-num-nsp is auto unless it is given.");
  app.callback([prompt, file] {
    if (prompt->count() + file->count() == 0) {
      throw CLI::ValidationError("--prompt or --text-file is required");
    }
  });
  return [flags] { return Profile(*flags); };
}

}  // namespace expertile::cli
