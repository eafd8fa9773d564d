// The compile options' flags, as the option table has them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/command.h"
#include "expertile/option_table.h"

namespace expertile::cli {
namespace {

bool IsBoolean(const OptionRow& row) {
  CompileOptions scratch;
  return VisitOption(row, scratch, []<typename T>(T&) {
    return std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>;
  });
}

bool IsList(const OptionRow& row) {
  return std::holds_alternative<OptionAccess<std::vector<std::string>>>(row.field);
}

// Under which options of a group stand: those that not every target has say whose they are.
std::string HeadingOf(const OptionRow& row) {
  if (row.group == OptionGroup::kGeneral) return kCompileGroup;
  const std::vector<std::string> targets = HonouredBy(row);
  return fmt::format("{} of the target{} {}", kCompileGroup, targets.size() == 1 ? "" : "s",
                     fmt::join(targets, ", "));
}

// "Arithmetic of matrix products: float32 | bfloat16 [float32]".
std::string HelpOf(const OptionRow& row) {
  std::string help(row.help);
  if (row.choices != nullptr) help += fmt::format(": {}", fmt::join(row.choices(), " | "));
  const bool says_default = !IsBoolean(row) || !row.unset.empty();
  const std::string value = DefaultOf(row);
  if (says_default && !value.empty()) help += fmt::format(" [{}]", value);
  return help;
}

std::string TypeNameOf(const OptionRow& row) {
  if (TypeOf(row) != "integer") return "TEXT";
  if (!row.auto_value) return "INT";
  return ValuesOf(row).starts_with("none") ? "INT|auto|none" : "INT|auto";
}

void AddCompileFlag(CLI::App& app, const OptionRow& row, CompileOptions& options) {
  const std::string flag = FlagOf(row);
  const CLI::callback_t read = [&row, &options, flag](const CLI::results_t& texts) {
    for (const std::string& text : texts) {
      const Status status = SetOption(row, text, flag, options);
      if (!status) throw CLI::ValidationError(status.error().message);
    }
    return true;
  };
  CLI::Option* option = app.add_option(flag, read, HelpOf(row))->group(HeadingOf(row));
  if (IsBoolean(row)) {
    option->expected(0)->type_name("")->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  } else if (IsList(row)) {
    option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args(false);
  }
  if (!IsBoolean(row)) option->type_name(TypeNameOf(row));
}

}  // namespace

Result<std::optional<int>> ParseNumNsp(const std::string& option, const std::string& text) {
  CompileOptions options;
  EXPERTILE_RETURN_IF_ERROR(SetOption(*FindOption("moe_prefill_num_nsp"), text, option, options));
  return options.moe_prefill_num_nsp;
}

void AddModelArgument(CLI::App& app, std::string& model) {
  app.add_option("MODEL", model, "Checkpoint folder: config.json, *.safetensors, tokenizer.json")
      ->required();
}

CLI::Option* AddImageOption(CLI::App& app, std::vector<std::string>& files) {
  return app
      .add_option("--image", files,
                  "PNG, JPEG, WebP, GIF or BMP file to look at (of an animation its first frame); "
                  "again for each further one, in their order")
      ->allow_extra_args(false);
}

void AddCompileFlags(CLI::App& app, CompileOptions& options) {
  for (const OptionRow& row : OptionTable()) AddCompileFlag(app, row, options);
}

std::vector<std::string> JoinBooleanValues(std::span<char* const> arguments) {
  const auto takes = [](const std::string& flag, const std::string& value) {
    const auto row = std::ranges::find(OptionTable(), flag, FlagOf);
    CompileOptions scratch;
    return row != OptionTable().end() && IsBoolean(*row) && SetOption(*row, value, flag, scratch);
  };
  std::vector<std::string> joined;
  bool are_options = true;  // until a "--"
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string argument = arguments[i];
    are_options = are_options && argument != "--";
    if (are_options && i + 1 < arguments.size() && takes(argument, arguments[i + 1])) {
      argument += "=" + std::string(arguments[++i]);
    }
    joined.push_back(std::move(argument));
  }
  return joined;
}

}  // namespace expertile::cli
