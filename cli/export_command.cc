#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "expertile/export.h"

namespace expertile::cli {

CommandBody AddExportCommand(CLI::App& app) {
  struct Flags {
    std::string model;
    std::string folder;
    CompileOptions options;
  };
  auto flags = std::make_shared<Flags>();
  AddModelArgument(app, flags->model);
  app.add_option("--output,-o", flags->folder, "Folder for the graphs: vision, prefill, decode")
      ->required();
  flags->options.target = kGraphTarget;
  AddCompileFlags(app, flags->options);
  return [flags]() -> Status {
    EXPERTILE_ASSIGN(const Model model, Model::Load(flags->model));
    Progress progress("exporting");
    EXPERTILE_ASSIGN(const ExportedGraphs graphs,
                     ExportOnnx(model, flags->options, flags->folder,
                                [&](int64_t done, int64_t total) { progress.Show(done, total); }));
    progress.Clear();
    for (const auto& file : graphs.files) Print("{}\n", file.string());
    return {};
  };
}

}  // namespace expertile::cli
