#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/progress.h"
#include "expertile/model.h"

namespace expertile::cli {

CommandBody AddCompileCommand(CLI::App& app) {
  struct Flags {
    std::string model;
    CompileOptions options;
  };
  auto flags = std::make_shared<Flags>();
  AddModelArgument(app, flags->model);
  AddCompileFlags(app, flags->options);
  return [flags]() -> Status {
    EXPERTILE_ASSIGN(const Model model, Model::Load(flags->model));
    Progress progress("compiling");
    EXPERTILE_ASSIGN(const CompiledProgram program,
                     model.CompileToDisk(flags->options, [&](int64_t done, int64_t total) {
                       progress.Show(done, total);
                     }));
    progress.Clear();
    fmt::print("{}\n{}\n", program.was_found ? "compiled before" : "compiled",
               program.folder.string());
    return {};
  };
}

}  // namespace expertile::cli
