// ExportOnnx: which graphs a set of options makes.
#include "expertile/export.h"

#include <string_view>

#include "base/error.h"
#include "runtime/compile.h"
#include "runtime/session_state.h"
#include "targets/onnx/export_decoder.h"

namespace expertile {
namespace {

// Refuses, by name, what an exported graph does not have.
Status CheckExport(const ExportOptions& options, const ModelConfig& model) {
  const CompileOptions& compile = options.compile;
  if (options.sentinel != "int32max" && options.sentinel != "in-bounds") {
    return InvalidArgument("onnx_sentinel: {}, expected int32max or in-bounds",
                           OneLine(options.sentinel));
  }
  if (model.vision && !compile.skip_vision) {
    return Unsupported(
        "export: the vision graph of {} is not exported; --skip-vision exports the "
        "language part",
        model.spec.model_type);
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

}  // namespace

Result<std::vector<std::filesystem::path>> ExportOnnx(const Model& model,
                                                      const ExportOptions& options,
                                                      const std::filesystem::path& folder,
                                                      const OnProgress& on_layer) {
  const Checkpoint& checkpoint = *model.state_->checkpoint;
  EXPERTILE_RETURN_IF_ERROR(CheckExport(options, checkpoint.config));
  EXPERTILE_ASSIGN(const CompileOptions compile,
                   ResolveOptions(options.compile, checkpoint.config));
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure) return IoError("{}: cannot create: {}", folder.string(), failure.message());
  const TargetOptions target = TargetOptionsOf(compile);
  const auto sentinel = options.sentinel == "in-bounds" ? onnx_target::Sentinel::kInBounds
                                                        : onnx_target::Sentinel::kInt32Max;
  std::vector<std::filesystem::path> files;
  const auto write = [&](StepKind kind, const char* name) -> Status {
    const onnx_target::GraphOptions graph{.kind = kind,
                                          .blocking = target.blocking,
                                          .max_rows = target.max_step_tokens,
                                          .ctx_len = target.ctx_len,
                                          .sentinel = sentinel};
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
