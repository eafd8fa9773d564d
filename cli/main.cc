// expertile: the command line. Exit status 0 ok, 1 failed, 2 usage; an error is one line on stderr.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "expertile/log.h"
#include "expertile/result.h"
#include "expertile/version.h"

namespace {

using expertile::Status;
using expertile::cli::CommandBody;
using expertile::cli::JoinBooleanValues;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

int Fail(std::string_view message, int status) {
  expertile::cli::Report(message);
  return status;
}

// --help and --version.
int PrintAndExit(const CLI::App& app, const CLI::Success& done) {
  std::ostringstream text;
  const int status = app.exit(done, text, text);
  expertile::cli::Write(stdout, text.str());
  return status;
}

// EXPERTILE_LOG=info or debug: what the library does, on standard error.
Status StartLog() {
  const char* variable = std::getenv("EXPERTILE_LOG");
  if (variable == nullptr || *variable == '\0') return {};
  const std::string_view level = variable;
  if (level != "info" && level != "debug") {
    return tl::unexpected(expertile::Error{
        expertile::ErrorCode::kInvalidArgument,
        "EXPERTILE_LOG: " + std::string(level.substr(0, 40)) + ", expected info or debug"});
  }
  expertile::SetLogSink(
      [](expertile::LogLevel, std::string_view line) { expertile::cli::Report(line); },
      level == "debug" ? expertile::LogLevel::kDebug : expertile::LogLevel::kInfo);
  return {};
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
      {"profile", "Show how a prompt's tokens lie on experts, layers and NSPs",
       expertile::cli::AddProfileCommand},
      {"bench", "Measure this machine's roof, a MoE layer, or a model",
       expertile::cli::AddBenchCommand},
  };
  std::vector<std::pair<CLI::App*, CommandBody>> commands;
  for (const Entry& entry : entries) {
    CLI::App* command = app.add_subcommand(entry.name, entry.about);
    commands.emplace_back(command, entry.add(*command));
  }
  try {
    auto arguments = JoinBooleanValues(std::span(argv, argc).subspan(std::min(argc, 1)));
    std::ranges::reverse(arguments);  // as CLI11 wants them
    app.parse(std::move(arguments));
  } catch (const CLI::Success& done) {
    return PrintAndExit(app, done);
  } catch (const CLI::ParseError& error) {
    return Fail(error.what(), kUsage);
  }
  for (const auto& [command, body] : commands) {
    if (!command->parsed()) continue;
    Status status = StartLog();
    if (status) status = body();
    if (status) return 0;
    return Fail(status.error().message,
                status.error().code == expertile::ErrorCode::kInvalidArgument ? kUsage : kFailed);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  expertile::cli::PrepareOutput();
  int status = kFailed;
  try {
    status = Run(argc, argv);
  } catch (const std::exception& error) {  // out of memory: nothing else throws
    expertile::cli::Report(error.what());
  }
  return expertile::cli::ExitStatus(status);
}
