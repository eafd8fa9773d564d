#include "compiling/graph_exports.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "compiling/compile.h"
#include "compiling/option_json.h"
#include "compiling/target_table.h"
#include "expertile/export.h"
#include "expertile/version.h"
#include "program/compile_cache.h"
#include "program/export_folder.h"
#include "running/session_state.h"
#include "targets/onnx/onnx_export.h"

namespace expertile {
namespace {

// All that decides what is in the graphs. Options of a card's compiler do not.
Result<nlohmann::json> OriginOf(const Checkpoint& checkpoint, const CompileOptions& options,
                                const Watch& watch) {
  CompileOptions of_graphs = OptionsHonouredBy(OnnxTarget(), options);
  of_graphs.target = kGraphTarget;
  of_graphs.num_cores = 0;  // was needed to resolve num_nsp "auto"
  nlohmann::json graphs = nlohmann::json::array();
  for (const GraphKind kind : GraphsOf(options, checkpoint.config)) graphs.push_back(NameOf(kind));
  EXPERTILE_ASSIGN(const std::string digest,
                   DigestOfCheckpoint(checkpoint, options.cache_dir, watch));
  return nlohmann::json{{"version", kVersion},
                        {"model", digest},
                        {"graphs", graphs},
                        {"onnx_sentinel", options.onnx_sentinel},  // where readers know it from
                        {"options", OptionsToJson(of_graphs)}};
}

Status WriteGraph(GraphKind kind, const Checkpoint& checkpoint, const CompileOptions& options,
                  const std::filesystem::path& file, const Watch& watch) {
  if (kind == GraphKind::kVision) {
    EXPERTILE_ASSIGN(const ImageGrid grid, GridOf(options, checkpoint.config));
    return onnx_target::ExportVision(checkpoint, grid, file);
  }
  const TargetOptions target = TargetOptionsOf(options);
  onnx_target::GraphOptions graph;
  graph.kind = kind == GraphKind::kPrefill ? onnx_target::StepKind::kPrefill
                                           : onnx_target::StepKind::kDecode;
  graph.blocking = target.blocking;
  graph.max_rows = target.max_step_tokens;
  graph.ctx_len = target.ctx_len;
  graph.use_subfunctions = options.use_onnx_subfunctions;
  graph.sentinel = options.onnx_sentinel == "in-bounds" ? onnx_target::Sentinel::kInBounds
                                                        : onnx_target::Sentinel::kInt32Max;
  if (kind == GraphKind::kPrefill && HasVision(options, checkpoint.config)) {
    const VisionSpec& vision = checkpoint.config.vision->spec;
    graph.image_token_id = vision.prompt.image_token_id;
    graph.num_features = static_cast<int>(vision.deepstack_blocks.size());
  }
  return onnx_target::ExportDecoder(checkpoint, graph, file, watch);
}

// The graphs in the compile cache, or options.compile_dir.
Result<CompiledProgram> CompileToGraphs(const Checkpoint& checkpoint, const CompileOptions& options,
                                        const Watch& watch) {
  EXPERTILE_ASSIGN(const GraphFolder graphs,
                   ExportGraphs(checkpoint, options, "", options.compile_dir, watch));
  return CompiledProgram{graphs.path, graphs.was_found, {}};
}

}  // namespace

TargetRow OnnxTarget() {
  return {.name = kGraphTarget,
          .about = "ONNX graphs for any runtime",
          .honours = {OptionGroup::kGraphs},
          .default_cores = kCloudAi100Cores,
          .make_files = CompileToGraphs};
}

std::string NameOf(GraphKind kind) {
  switch (kind) {
    case GraphKind::kVision:
      return "vision";
    case GraphKind::kPrefill:
      return "prefill";
    case GraphKind::kDecode:
      return "decode";
  }
  return "";
}

std::vector<GraphKind> GraphsOf(const CompileOptions& options, const ModelConfig& model) {
  std::vector<GraphKind> graphs;
  const bool has_vision = HasVision(options, model);
  if (has_vision) graphs.push_back(GraphKind::kVision);
  if (options.skip_lang) return graphs;
  const bool decode_does_both = TargetOf(options).specialises_graphs &&
                                !options.moe_prefill_num_nsp && !options.prefill_only &&
                                !has_vision;
  if (options.prefill_seq_len > 1 && options.prefill_only.value_or(true) && !decode_does_both) {
    graphs.push_back(GraphKind::kPrefill);
  }
  if (!options.prefill_only.value_or(false)) graphs.push_back(GraphKind::kDecode);
  return graphs;
}

Result<ImageGrid> GridOf(const CompileOptions& options, const ModelConfig& model) {
  constexpr ImageSize kDefault = {354, 536};
  if (!model.vision->preprocessor) {
    return NotFound("{}: no preprocessor_config.json, which says how images are prepared",
                    model.folder.string());
  }
  const VisionPreprocessorConfig& config = *model.vision->preprocessor;
  const ImageSize given{options.height.value_or(kDefault.height),
                        options.width.value_or(kDefault.width)};
  return GridOf(config, given);
}

Result<GraphFolder> ExportGraphs(const Checkpoint& checkpoint, const CompileOptions& options,
                                 const std::filesystem::path& folder,
                                 const std::filesystem::path& parent, const Watch& watch) {
  EXPERTILE_ASSIGN(const nlohmann::json origin, OriginOf(checkpoint, options, watch));
  GraphFolder graphs{folder, FingerprintOf(origin)};
  if (folder.empty()) {
    EXPERTILE_ASSIGN(const CompileCache cache, CompileCache::At(options.cache_dir));
    graphs.path = (parent.empty() ? cache.exports_folder() : parent) /
                  FolderNameOf(checkpoint.config.spec.model_type, graphs.fingerprint);
  }
  const auto make = [&](const std::filesystem::path& scratch) -> Status {
    for (const GraphKind kind : GraphsOf(options, checkpoint.config)) {
      const auto file = scratch / (NameOf(kind) + ".onnx");
      EXPERTILE_RETURN_IF_ERROR(CatchOutOfMemory(
          "the graph", [&] { return WriteGraph(kind, checkpoint, options, file, watch); }));
    }
    return {};
  };
  const Stopwatch stopwatch;
  EXPERTILE_ASSIGN(graphs.was_found, FillExportFolder(graphs.path, origin, make, watch));
  Log(LogLevel::kInfo, "{}: graphs {}, {:.3f} s", graphs.path.string(),
      graphs.was_found ? "found" : "exported", stopwatch.seconds());
  return graphs;
}

Result<ExportedGraphs> ExportOnnx(const Model& model, const CompileOptions& options,
                                  const std::filesystem::path& folder,
                                  const OnProgress& on_progress, const IsCancelled& is_cancelled) {
  const Watch watch = WatchOf(on_progress, is_cancelled);
  const Checkpoint& checkpoint = *model.state_->checkpoint;
  const TargetRow* row = FindTarget(options.target);
  if (row == nullptr || row->make_files != CompileToGraphs) {
    return InvalidArgument("target: {}, what is exported is {}", OneLine(options.target),
                           kGraphTarget);
  }
  if (folder.empty()) return InvalidArgument("an export needs a folder to go to");
  if (!options.compile_dir.empty()) {
    return InvalidArgument("compile_dir: {}, an export goes to the folder {}", options.compile_dir,
                           folder.string());
  }
  EXPERTILE_ASSIGN(const CompileOptions resolved, ResolveOptions(options, checkpoint.config));
  EXPERTILE_ASSIGN(const GraphFolder graphs, ExportGraphs(checkpoint, resolved, folder, "", watch));
  ExportedGraphs exported;
  exported.was_found = graphs.was_found;
  for (const GraphKind kind : GraphsOf(resolved, checkpoint.config)) {
    exported.files.push_back(folder / (NameOf(kind) + ".onnx"));
  }
  return exported;
}

}  // namespace expertile
