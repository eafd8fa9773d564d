#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "expertile/model.h"

namespace expertile::cli {

namespace {

// A state and a path for each; of one that is still to be compiled the line to run as well. Last
// the path of the last one.
void PrintQaicPrograms(const CompiledProgram& compiled) {
  using State = QaicProgramFolder::State;
  for (const QaicProgramFolder& program : compiled.qaic) {
    if (program.state != State::kToBeRun) {
      const bool is_new = program.state == State::kCompiled;
      Print("{}: {}\n{}\n", program.name, is_new ? "compiled" : "compiled before",
            program.folder.string());
      continue;
    }
    Print(
        "{}: to be compiled, as the compiler of the Cloud AI SDK is not here (--qaic-compiler); "
        "run where it is, with the same folders:\n{}\n{}\n",
        program.name, program.command, program.folder.string());
  }
}

}  // namespace

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
    if (!program.qaic.empty()) {
      PrintQaicPrograms(program);
      return {};
    }
    Print("{}\n{}\n", program.was_found ? "compiled before" : "compiled", program.folder.string());
    return {};
  };
}

}  // namespace expertile::cli
