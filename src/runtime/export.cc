// ExportOnnx: which graphs a set of options makes.
#include "expertile/export.h"

#include <string_view>

#include "base/error.h"
#include "runtime/compile.h"
#include "runtime/session_state.h"
#include "targets/onnx/export_decoder.h"
#include "targets/onnx/export_vision.h"

namespace expertile {
namespace {

// Refuses, by name, what an exported graph does not have.
Status CheckExport(const ExportOptions& options, const ModelConfig& model) {
  const CompileOptions& compile = options.compile;
  if (options.sentinel != "int32max" && options.sentinel != "in-bounds") {
    return InvalidArgument("onnx_sentinel: {}, expected int32max or in-bounds",
                           OneLine(options.sentinel));
  }
  const bool has_vision = model.vision && !compile.skip_vision;
  if (compile.skip_lang && !has_vision) {
    return InvalidArgument("skip_lang: without a vision part there is nothing left to export");
  }
  if ((compile.height || compile.width) && !has_vision) {
    return InvalidArgument("height, width: there is no vision graph that they would be of");
  }
  const struct {
    std::string_view name;
    bool given;
  } unhonoured[] = {
      {"dtype", compile.dtype != "float32"},        {"mxfp6_matmul", compile.mxfp6_matmul},
      {"mxint8_kv_cache", compile.mxint8_kv_cache}, {"compile_dir", !compile.compile_dir.empty()},
      {"cache_dir", !compile.cache_dir.empty()},
  };
  for (const auto& option : unhonoured) {
    if (option.given)
      return Unsupported("{}: an exported graph does not have this option", option.name);
  }
  return {};
}

// The patches of the images that a vision graph takes: of height x width pixels before they are
// resized, as the original's are by default.
Result<ImageGrid> GridOf(const CompileOptions& options, const ModelConfig& model) {
  constexpr ImageSize kDefault = {354, 536};
  if (!model.vision->preprocessor) {
    return NotFound("{}: no preprocessor_config.json, which says how images are prepared",
                    model.folder.string());
  }
  const VisionPreprocessorConfig& config = *model.vision->preprocessor;
  const ImageSize given{options.height.value_or(kDefault.height),
                        options.width.value_or(kDefault.width)};
  if (given.height < 1 || given.width < 1) {
    return InvalidArgument("height, width: {} x {}, expected 1 or more", given.height, given.width);
  }
  EXPERTILE_ASSIGN(const ImageSize size, SmartResize(config, given));
  return ImageGrid{1, size.height / config.patch_size, size.width / config.patch_size};
}

// What is left to check when the vision graph's own options are taken out.
CompileOptions LanguageOptions(CompileOptions options) {
  options.skip_lang = false;
  options.use_onnx_subfunctions = false;

  options.height.reset();
  options.width.reset();
  return options;
}

}  // namespace

Result<std::vector<std::filesystem::path>> ExportOnnx(const Model& model,
                                                      const ExportOptions& options,
                                                      const std::filesystem::path& folder,
                                                      const OnProgress& on_layer) {
  const Checkpoint& checkpoint = *model.state_->checkpoint;
  EXPERTILE_RETURN_IF_ERROR(CheckExport(options, checkpoint.config));
  EXPERTILE_ASSIGN(const CompileOptions compile,
                   ResolveOptions(LanguageOptions(options.compile), checkpoint.config));
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure) return IoError("{}: cannot create: {}", folder.string(), failure.message());
  const TargetOptions target = TargetOptionsOf(compile);
  const auto sentinel = options.sentinel == "in-bounds" ? onnx_target::Sentinel::kInBounds
                                                        : onnx_target::Sentinel::kInt32Max;
  std::vector<std::filesystem::path> files;
  const auto& vision = checkpoint.config.vision;
  const bool has_vision = vision && !compile.skip_vision;
  if (has_vision) {
    EXPERTILE_ASSIGN(const ImageGrid grid, GridOf(options.compile, checkpoint.config));
    files.push_back(folder / "vision.onnx");
    EXPERTILE_RETURN_IF_ERROR(CatchOutOfMemory(
        "the graph", [&] { return onnx_target::ExportVision(checkpoint, grid, files.back()); }));
  }
  if (options.compile.skip_lang) return files;
  const auto write = [&](StepKind kind, const char* name) -> Status {
    onnx_target::GraphOptions graph{.kind = kind,
                                    .blocking = target.blocking,
                                    .max_rows = target.max_step_tokens,
                                    .ctx_len = target.ctx_len,
                                    .sentinel = sentinel,
                                    .use_subfunctions = options.compile.use_onnx_subfunctions};
    if (has_vision && kind == StepKind::kPrefill) {
      graph.image_token_id = vision->spec.prompt.image_token_id;
      graph.num_features = static_cast<int>(vision->spec.deepstack_blocks.size());
    }
    files.push_back(folder / name);
    return CatchOutOfMemory("the graph", [&] {
      return onnx_target::ExportDecoder(checkpoint, graph, files.back(), on_layer);
    });
  };
  if (compile.prefill_seq_len > 1) {
    EXPERTILE_RETURN_IF_ERROR(write(StepKind::kPrefill, "prefill.onnx"));
  }
  if (!compile.prefill_only.value_or(false)) {
    EXPERTILE_RETURN_IF_ERROR(write(StepKind::kDecode, "decode.onnx"));
  }
  return files;
}

}  // namespace expertile
