#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/progress.h"
#include "expertile/export.h"

namespace expertile::cli {

CommandBody AddExportCommand(CLI::App& app) {
  struct Flags {
    std::string model;
    std::string folder;
    ExportOptions options;
  };
  auto flags = std::make_shared<Flags>();
  AddModelArgument(app, flags->model);
  app.add_option("--output,-o", flags->folder, "Folder for prefill.onnx and decode.onnx")
      ->required();
  app.add_option("--onnx-sentinel", flags->options.sentinel,
                 "int32max: rows of index INT32_MAX are dropped, as on Cloud AI 100 | in-bounds: "
                 "graphs that any runtime runs")
      ->capture_default_str();
  AddCompileFlags(app, flags->options.compile);
  return [flags]() -> Status {
    EXPERTILE_ASSIGN(const Model model, Model::Load(flags->model));
    Progress progress("exporting");
    EXPERTILE_ASSIGN(const auto files,
                     ExportOnnx(model, flags->options, flags->folder,
                                [&](int64_t done, int64_t total) { progress.Show(done, total); }));
    progress.Clear();
    for (const auto& file : files) fmt::print("{}\n", file.string());
    return {};
  };
}

}  // namespace expertile::cli
