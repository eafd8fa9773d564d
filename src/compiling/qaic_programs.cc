#include "compiling/qaic_programs.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "compiling/compile.h"
#include "compiling/graph_exports.h"
#include "compiling/option_json.h"
#include "program/qaic/custom_io.h"
#include "program/qaic/qaic_compiler.h"

namespace expertile {
namespace {

using onnx_target::GraphOutline;

Result<qaic::VisionShapes> VisionShapesOf(const CompileOptions& options, const ModelConfig& model) {
  EXPERTILE_ASSIGN(const ImageGrid grid, GridOf(options, model));
  const VisionSpec& spec = model.vision->spec;
  qaic::VisionShapes shapes;
  shapes.time = grid.t;
  shapes.grid_h = grid.h;
  shapes.grid_w = grid.w;
  shapes.patch_size = spec.patch_values;
  shapes.spatial_merge = spec.prompt.merge_size;
  shapes.num_deepstack = static_cast<int64_t>(spec.deepstack_blocks.size());
  return shapes;
}

// What the graph of `kind` is compiled for; decode's is for prefill, too, if there is no other.
Result<std::vector<qaic::Specialization>> ShapesOf(GraphKind kind, const CompileOptions& options,
                                                   const ModelConfig& model) {
  std::optional<qaic::VisionShapes> vision;
  if (HasVision(options, model) && kind != GraphKind::kDecode) {
    EXPERTILE_ASSIGN(vision, VisionShapesOf(options, model));
  }
  if (kind == GraphKind::kVision) {
    EXPERTILE_ASSIGN(auto shapes, qaic::VisionSpecialization(*vision));
    return std::vector{std::move(shapes)};
  }
  qaic::LanguageShapes shapes;
  shapes.batch_size = options.batch_size;
  shapes.ctx_len = *options.ctx_len;
  shapes.prefill_seq_len = std::min(options.prefill_seq_len, *options.ctx_len);
  shapes.vision = vision;
  int64_t window = 0;
  for (const LayerSpec& layer : model.spec.layers)
    window = std::max(window, AttentionOf(layer).window);
  if (window > 0) shapes.sliding_window = window;
  const auto graphs = GraphsOf(options, model);
  if (kind == GraphKind::kPrefill) {
    shapes.prefill_only = true;
    shapes.enable_chunking = options.enable_chunking;
  } else if (options.prefill_only || std::ranges::count(graphs, GraphKind::kPrefill) > 0) {
    shapes.prefill_seq_len = 1;
  }
  return qaic::LanguageSpecializations(shapes);
}

Result<qaic::CompilerFlags> FlagsOf(GraphKind kind, const CompileOptions& options) {
  qaic::CompilerFlags flags;
  flags.hw_version = options.qaic.aic_hw_version;
  flags.num_cores = CoresOf(options);
  flags.retained_state = kind != GraphKind::kVision;
  flags.mxfp6_matmul = options.mxfp6_matmul && kind != GraphKind::kVision;
  flags.sub_functions = options.use_onnx_subfunctions;
  for (const std::string& text : options.qaic.compiler_options) {
    EXPERTILE_ASSIGN(auto option, qaic::ParsePassedOption(text));
    flags.passed.push_back(std::move(option));
  }
  return flags;
}

// Whether the graph's layers go to stages; a vision graph has none that could.
bool IsStaged(GraphKind kind, const CompileOptions& options) {
  return options.qaic.mdp_num_partitions > 1 && kind != GraphKind::kVision;
}

// Everything that is known without a look at the graph; refuses what can be refused before it is
// made.
Result<qaic::QaicCompile> CompileWithoutGraph(GraphKind kind, const CompileOptions& options,
                                              const ModelConfig& model) {
  qaic::QaicCompile compile;
  EXPERTILE_ASSIGN(compile.flags, FlagsOf(kind, options));
  const nlohmann::json beyond = OptionsBeyond(OnnxTarget(), options);
  if (!beyond.empty()) compile.options = beyond.dump();
  EXPERTILE_RETURN_IF_ERROR(qaic::CheckFlags(compile.flags));
  EXPERTILE_ASSIGN(compile.specializations, ShapesOf(kind, options, model));
  const auto num_layers = static_cast<int>(model.spec.layers.size());
  EXPERTILE_RETURN_IF_ERROR(qaic::LayersOfStages(num_layers, options.qaic.mdp_num_partitions));
  if (!options.qaic.mdp_load_partition_config.empty()) {
    EXPERTILE_ASSIGN(compile.partition,
                     qaic::GivenPartition(options.qaic.mdp_load_partition_config));
  } else if (options.num_devices > 1 && !IsStaged(kind, options)) {
    EXPERTILE_ASSIGN(compile.partition, qaic::TensorSlicing(options.num_devices, CoresOf(options)));
  }
  return compile;
}

Status AddGraph(GraphKind kind, const GraphFolder& graphs, const CompileOptions& options,
                const ModelConfig& model, qaic::QaicCompile& compile) {
  compile.onnx = graphs.path / (NameOf(kind) + ".onnx");
  compile.graph_fingerprint = graphs.fingerprint + "/" + NameOf(kind);
  EXPERTILE_ASSIGN(const GraphOutline graph, onnx_target::ReadGraphOutline(compile.onnx));
  const auto kv =
      options.mxint8_kv_cache ? qaic::KvPrecision::kMxint8 : qaic::KvPrecision::kFloat16;
  EXPERTILE_ASSIGN(compile.custom_io_yaml, qaic::CustomIoYaml(graph.inputs, graph.outputs, kv));
  if (IsStaged(kind, options)) {
    const auto num_layers = static_cast<int>(model.spec.layers.size());
    EXPERTILE_ASSIGN(compile.partition,
                     qaic::Pipeline(graph, num_layers, options.qaic.mdp_num_partitions,
                                    options.num_devices, CoresOf(options)));
  }
  return {};
}

QaicProgramFolder::State StateOf(qaic::QaicProgram::State state) {
  using State = QaicProgramFolder::State;
  if (state == qaic::QaicProgram::State::kCached) return State::kCompiledBefore;
  return state == qaic::QaicProgram::State::kCompiled ? State::kCompiled : State::kToBeRun;
}

Result<CompiledProgram> CompileForCloudAi100(const Checkpoint& checkpoint,
                                             const CompileOptions& options, const Watch& watch) {
  const ModelConfig& model = checkpoint.config;
  const std::vector<GraphKind> kinds = GraphsOf(options, model);
  std::vector<qaic::QaicCompile> compiles;
  for (const GraphKind kind : kinds) {
    EXPERTILE_ASSIGN(auto compile, CompileWithoutGraph(kind, options, model));
    compiles.push_back(std::move(compile));
  }
  EXPERTILE_ASSIGN(const auto compiler, qaic::FindQaicCompiler(options.qaic.qaic_compiler));
  EXPERTILE_ASSIGN(const GraphFolder graphs, ExportGraphs(checkpoint, options, "", "", watch));
  CompiledProgram compiled{graphs.path, true, {}};
  const std::filesystem::path parent =
      options.compile_dir.empty() ? graphs.path : std::filesystem::path(options.compile_dir);
  for (size_t i = 0; i < kinds.size(); ++i) {
    EXPERTILE_RETURN_IF_ERROR(AddGraph(kinds[i], graphs, options, model, compiles[i]));
    EXPERTILE_ASSIGN(const qaic::QaicProgram program,
                     qaic::CompileForQaic(std::move(compiles[i]), parent, compiler));
    QaicProgramFolder folder{NameOf(kinds[i]), program.folder.program(), StateOf(program.state),
                             ""};
    if (folder.state == QaicProgramFolder::State::kToBeRun) folder.command = program.command;
    compiled.was_found &= folder.state == QaicProgramFolder::State::kCompiledBefore;
    compiled.qaic.push_back(std::move(folder));
  }
  return compiled;
}

}  // namespace

TargetRow QaicTarget() {
  return {.name = "qaic",
          .about = "programs for a Qualcomm Cloud AI 100, by its compiler",
          .honours = {OptionGroup::kBlockFormats, OptionGroup::kGraphs, OptionGroup::kCloudAi100},
          .default_cores = kCloudAi100Cores,
          .specialises_graphs = true,
          .make_files = CompileForCloudAi100};
}

}  // namespace expertile
