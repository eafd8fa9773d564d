#include "cli/program_source.h"

#include <filesystem>

#include "cli/command.h"
#include "cli/progress.h"
#include "expertile/program_description.h"

namespace expertile::cli {
namespace {

tl::unexpected<Error> Refuse(std::string message) {
  return tl::unexpected(Error{ErrorCode::kInvalidArgument, std::move(message)});
}

// The first compile option on the command line; empty for none.
std::string GivenCompileOption(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().starts_with(kCompileGroup) && option->count() > 0)
      return option->get_name();
  }
  return "";
}

}  // namespace

void AddProgramSource(CLI::App& app, ProgramSource& source) {
  source.command = &app;
  app.add_option("MODEL", source.path,
                 "Checkpoint folder (config.json, *.safetensors, tokenizer.json), or a program's "
                 "folder")
      ->required();
  app.add_flag("--verify", source.verify, "Check every byte of a program before it runs");
  AddCompileFlags(app, source.options);
}

Result<Program> OpenProgram(const ProgramSource& source) {
  if (!Program::IsProgram(source.path)) {
    if (source.verify)
      return Refuse("--verify: " + source.path + " is a checkpoint, not a program");
    EXPERTILE_ASSIGN(const Model model, Model::Load(source.path));
    Progress progress("packing weights");
    return model.Compile(source.options,
                         [&](int64_t done, int64_t total) { progress.Show(done, total); });
  }
  const std::string given = GivenCompileOption(*source.command);
  if (!given.empty()) {
    return Refuse(given + ": " + source.path + " is a program, which has its options already");
  }
  if (source.verify) {
    EXPERTILE_RETURN_IF_ERROR(VerifyProgram(source.path));
  }
  return Program::Open(source.path);
}

std::string ModelFolderOf(const std::string& path) {
  if (!Program::IsProgram(path)) return path;
  return (std::filesystem::path(path) / "assets").string();
}

}  // namespace expertile::cli
