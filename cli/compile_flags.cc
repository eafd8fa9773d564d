#include "cli/command.h"

namespace expertile::cli {
Result<std::optional<int>> ParseNumNsp(const std::string& option, const std::string& text) {
  if (text == "none") return std::nullopt;
  if (text == "auto") return CompileOptions::kAutoNumNsp;
  int value = 0;
  if (!CLI::detail::lexical_cast(text, value) || value < 1) {
    return tl::unexpected(
        Error{ErrorCode::kInvalidArgument,
              option + ": " + text + ", expected none, auto, or 1 to the number of experts"});
  }
  return value;
}

void AddModelArgument(CLI::App& app, std::string& model) {
  app.add_option("MODEL", model, "Checkpoint folder: config.json, *.safetensors, tokenizer.json")
      ->required();
}

CLI::Option* AddImageOption(CLI::App& app, std::vector<std::string>& files) {
  return app
      .add_option("--image", files,
                  "PNG or JPEG file to look at; again for each further one, in their order")
      ->allow_extra_args(false);
}

namespace {

void AddQaicFlags(CLI::App& app, QaicOptions& options) {
  const auto add = [&](const char* name, auto& value, const char* about) {
    return app.add_option(name, value, about)->group("Compile options of the target qaic");
  };
  add("--aic-hw-version", options.aic_hw_version, "ai100 | ai200")->capture_default_str();
  add("--mdp-num-partitions", options.mdp_num_partitions, "Pipeline stages of the devices")
      ->capture_default_str();
  add("--mdp-load-partition-config", options.mdp_load_partition_config,
      "A partition file of your own");
  add("--compiler-option", options.compiler_options,
      "NAME or NAME=VALUE passed on to the compiler (mos=1); again for each further one")
      ->allow_extra_args(false);
  add("--qaic-compiler", options.qaic_compiler,
      "The compiler [$EXPERTILE_QAIC_COMPILER, else /opt/qti-aic/exec/qaic-compile]");
}

}  // namespace

void AddCompileFlags(CLI::App& app, CompileOptions& options) {
  const auto add = [&](const char* name, auto& value, const char* about) {
    return app.add_option(name, value, about)->group(kCompileGroup);
  };
  const auto add_flag = [&](const char* name, bool& value, const char* about) {
    app.add_flag(name, value, about)->group(kCompileGroup);
  };
  add("--target", options.target, "reference | cpu | onnx | qaic")->capture_default_str();
  add("--dtype", options.dtype, "Arithmetic of matrix products: float32 | bfloat16")
      ->capture_default_str();
  add("--batch-size", options.batch_size, "Sequences of a session")->capture_default_str();
  add("--prefill-seq-len", options.prefill_seq_len, "Prompt tokens per prefill step")
      ->capture_default_str();
  add("--ctx-len", options.ctx_len, "Positions of a sequence [4096, or what the model has]");
  add("--num-cores", options.num_cores,
      "Workers [all processors]; qaic: cores of each device [16]");
  add("--num-devices", options.num_devices, "Devices (qaic)")->capture_default_str();
  app.add_option_function<std::string>(
         "--moe-prefill-num-nsp",
         [&options](const std::string& text) {
           const auto num_nsp = ParseNumNsp("moe_prefill_num_nsp", text);
           if (!num_nsp) throw CLI::ValidationError(num_nsp.error().message);
           options.moe_prefill_num_nsp = *num_nsp;
         },
         "Expert groups that prefill in parallel: none | auto | 1 to E [none]")
      ->group(kCompileGroup);
  add("--moe-prefill-packed-chunk-size", options.moe_prefill_packed_chunk_size,
      "Rows of packed tokens per step")
      ->capture_default_str();
  add_flag("--mxfp6-matmul", options.mxfp6_matmul, "Weights in MXFP6");
  add_flag("--mxint8-kv-cache", options.mxint8_kv_cache, "KV cache in MXINT8");
  add("--prefill-only", options.prefill_only,
      "true: prefill alone, which decode programs go on from; false: onnx, qaic: decode alone");
  add_flag("--enable-chunking", options.enable_chunking,
           "A prefill_only program takes prompts longer than prefill_seq_len");
  add_flag("--retain-full-kv", options.retain_full_kv,
           "Full-length KV cache in windowed layers (cpu, reference: always)");
  add_flag("--skip-vision", options.skip_vision, "Leave the vision part out");
  add_flag("--skip-lang", options.skip_lang, "Leave the language part out");
  add("--height", options.height, "Image height, pixels");
  add("--width", options.width, "Image width, pixels");
  add_flag("--use-onnx-subfunctions", options.use_onnx_subfunctions,
           "One ONNX function per distinct decoder layer (onnx, qaic)");
  add("--onnx-sentinel", options.onnx_sentinel,
      "int32max: rows of index INT32_MAX are dropped, as on Cloud AI 100 | in-bounds: graphs that "
      "any runtime runs (onnx, qaic)")
      ->capture_default_str();
  AddQaicFlags(app, options.qaic);
  add("--compile-dir", options.compile_dir, "Put the program's folder in this one");
  add("--cache-dir", options.cache_dir,
      "Compile cache [$EXPERTILE_HOME, else $XDG_CACHE_HOME/expertile, else ~/.cache/expertile]");
}

}  // namespace expertile::cli
