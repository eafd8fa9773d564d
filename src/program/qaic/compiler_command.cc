#include "program/qaic/compiler_command.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace expertile::qaic {
namespace {

// Characters besides letters and digits that no shell takes for anything else.
constexpr std::string_view kPlain = "-_./=:,+@%";

// Set by CompilerArguments, or not to be set at all.
constexpr std::array<std::string_view, 14> kOwnOptions = {"m",
                                                          "aic-hw",
                                                          "aic-hw-version",
                                                          "aic-num-cores",
                                                          "aic-binary-dir",
                                                          "compile-only",
                                                          "convert-to-fp16",
                                                          "custom-IO-list-file",
                                                          "mdp-dump-partition-config",
                                                          "mdp-load-partition-config",
                                                          "mxfp6-matmul",
                                                          "network-specialization-config",
                                                          "retained-state",
                                                          "sub-functions"};

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string WithDashes(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::string ShellQuoted(const std::string& argument) {
  const bool plain = !argument.empty() && std::all_of(argument.begin(), argument.end(), [](char c) {
    return IsAlphanumeric(c) || kPlain.find(c) != std::string_view::npos;
  });
  if (plain) return argument;
  std::string quoted = "'";
  for (const char c : argument) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

}  // namespace

Result<PassedOption> ParsePassedOption(std::string_view text) {
  const size_t equals = text.find('=');
  PassedOption option;
  option.name = WithDashes(std::string(text.substr(0, equals)));
  if (equals != std::string_view::npos) option.value = text.substr(equals + 1);
  const bool valid = std::all_of(option.name.begin(), option.name.end(),
                                 [](char c) { return IsAlphanumeric(c) || c == '-'; });
  if (!valid || option.name.empty() || option.name.front() == '-') {
    return InvalidArgument("compiler option `{}`: expected NAME or NAME=VALUE", OneLine(text));
  }
  option.names_file = option.name == "node-precision-info";
  if (option.names_file && option.value.value_or("").empty()) {
    return InvalidArgument("compiler option {}: expected the path of a file", option.name);
  }
  return option;
}

Status CheckFlags(const CompilerFlags& flags) {
  if (flags.num_cores < 1) {
    return InvalidArgument("num_cores: {}, expected at least 1", flags.num_cores);
  }
  if (flags.hw_version.empty()) return InvalidArgument("hw_version: empty, expected e.g. ai100");
  std::set<std::string> seen;
  for (const PassedOption& option : flags.passed) {
    const std::string name = WithDashes(option.name);
    if (std::find(kOwnOptions.begin(), kOwnOptions.end(), name) != kOwnOptions.end()) {
      return InvalidArgument("compiler option {}: set from the compile options, not passed on",
                             name);
    }
    if (!seen.insert(name).second) return InvalidArgument("compiler option {}: given twice", name);
  }
  return {};
}

std::vector<std::string> CompilerArguments(const std::filesystem::path& compiler,
                                           const CompilerFlags& flags, const CompilerFiles& files) {
  std::vector<std::string> arguments = {compiler.string(), "-aic-hw",
                                        "-aic-hw-version=" + flags.hw_version,
                                        "-m=" + files.onnx.string()};
  const auto add_if = [&](bool condition, std::string argument) {
    if (condition) arguments.push_back(std::move(argument));
  };
  const bool slices = files.partition_kind == Partition::Kind::kTensorSlicing;
  const std::string partition = "-mdp-load-partition-config=" + files.partition.string();
  add_if(!files.partition.empty() && !slices, partition);
  add_if(flags.retained_state, "-retained-state");
  add_if(flags.convert_to_fp16, "-convert-to-fp16");
  add_if(flags.mxfp6_matmul, "-mxfp6-matmul");
  arguments.push_back(fmt::format("-aic-num-cores={}", flags.num_cores));
  for (const PassedOption& option : flags.passed) {
    const std::string flag = "-" + WithDashes(option.name);
    arguments.push_back(option.value ? flag + "=" + *option.value : flag);
  }
  add_if(flags.sub_functions, "-sub-functions");
  add_if(!files.partition.empty() && slices, partition);
  arguments.push_back("-network-specialization-config=" + files.specializations.string());
  add_if(!files.custom_io.empty(), "-custom-IO-list-file=" + files.custom_io.string());
  arguments.push_back("-aic-binary-dir=" + files.program.string());
  return arguments;
}

std::string ShellLine(std::span<const std::string> arguments) {
  std::string line;
  for (const std::string& argument : arguments) {
    line += (line.empty() ? "" : " ") + ShellQuoted(argument);
  }
  return line;
}

}  // namespace expertile::qaic
