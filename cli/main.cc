// expertile: the command line. Exit status 0 ok, 1 failed, 2 usage; an error is one line on stderr.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "expertile/version.h"

namespace {

using expertile::cli::CommandBody;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

int Report(const std::string& message, int status) {
  std::string line = message;
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  fmt::print(stderr, "expertile: {}\n", line);
  return status;
}

int Run(int argc, char** argv) {
  CLI::App app("Compiles and runs Mixture-of-Experts language models with NSP-blocked prefill.",
               "expertile");
  app.set_version_flag("--version", std::string("expertile ") + expertile::kVersion);
  app.require_subcommand(1);
  app.get_formatter()->column_width(44);

  struct Entry {
    const char* name;
    const char* about;
    CommandBody (*add)(CLI::App&);
  };
  const Entry entries[] = {
      {"run", "Continue a prompt, or chat", expertile::cli::AddRunCommand},
      {"compile", "Make a program of a checkpoint, in the compile cache",
       expertile::cli::AddCompileCommand},
      {"export", "Write a checkpoint as ONNX graphs", expertile::cli::AddExportCommand},
      {"inspect", "Show a model or a program: architecture, sizes, experts on NSPs",
       expertile::cli::AddInspectCommand},
      {"tokenize", "Turn text into token ids, or ids into text",
       expertile::cli::AddTokenizeCommand},
      {"forward", "Write the logits of a token list to a file", expertile::cli::AddForwardCommand},
      {"eval", "Measure perplexity on a text", expertile::cli::AddEvalCommand},
      {"bench", "Measure this machine's roof, a MoE layer, or a model",
       expertile::cli::AddBenchCommand},
  };
  std::vector<std::pair<CLI::App*, CommandBody>> commands;
  for (const Entry& entry : entries) {
    CLI::App* command = app.add_subcommand(entry.name, entry.about);
    commands.emplace_back(command, entry.add(*command));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    return Report(error.what(), kUsage);
  }
  for (const auto& [command, body] : commands) {
    if (!command->parsed()) continue;
    const expertile::Status status = body();
    if (status) return 0;
    return Report(status.error().message,
                  status.error().code == expertile::ErrorCode::kInvalidArgument ? kUsage : kFailed);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, a closed pipe: nothing else throws
    return Report(error.what(), kFailed);
  }
}
