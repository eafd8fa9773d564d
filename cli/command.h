// The shape of a subcommand: it declares its flags on a CLI11 app and returns what to run once they
// are parsed. Not the work itself: that is the library's.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "expertile/options.h"
#include "expertile/result.h"

namespace expertile::cli {

// What a parsed subcommand does; its error becomes the program's one line on stderr.
using CommandBody = std::function<Status()>;

CommandBody AddRunCommand(CLI::App& app);
CommandBody AddCompileCommand(CLI::App& app);
CommandBody AddExportCommand(CLI::App& app);
CommandBody AddForwardCommand(CLI::App& app);
CommandBody AddTokenizeCommand(CLI::App& app);
CommandBody AddInspectCommand(CLI::App& app);
CommandBody AddEvalCommand(CLI::App& app);
CommandBody AddProfileCommand(CLI::App& app);
CommandBody AddBenchCommand(CLI::App& app);

// What begins the headings that compile options stand under in --help.
inline constexpr const char* kCompileGroup = "Compile options";

// Declares every compile option (include/expertile/option_table.h) on `app`.
void AddCompileFlags(CLI::App& app, CompileOptions& options);

// The command line with "--prefill-only false" as "--prefill-only=false", and so on: a compile
// option that is a yes or no takes the word after it only if that is a yes or no.
std::vector<std::string> JoinBooleanValues(std::span<char* const> arguments);

// "none", "auto" or a number; what the number may be at most depends on the model.
// `option` is its name in errors.
Result<std::optional<int>> ParseNumNsp(const std::string& option, const std::string& text);

// Declares --image, which may be given several times.
CLI::Option* AddImageOption(CLI::App& app, std::vector<std::string>& files);

// Declares the positional MODEL.
void AddModelArgument(CLI::App& app, std::string& model);

}  // namespace expertile::cli
