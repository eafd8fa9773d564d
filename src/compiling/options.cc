// Checks compile options against their ranges and against what the targets can do.
#include "expertile/options.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "base/error.h"

namespace expertile {
namespace {

// Far above any use, and small enough that products of options stay inside int64.
constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr int64_t kMaxBatchSize = int64_t{1} << 20;
constexpr int64_t kMaxCores = 1024;
constexpr int64_t kMaxDevices = 1024;

bool Contains(std::initializer_list<std::string_view> values, std::string_view value) {
  return std::ranges::find(values, value) != values.end();
}

Status CheckRange(std::string_view name, int64_t value, int64_t min, int64_t max) {
  if (value < min || value > max) {
    return InvalidArgument("{}: {}, expected {} to {}", name, value, min, max);
  }
  return {};
}

// An option that the target does not honour is refused, never ignored. (retain_full_kv is honoured
// always: caches keep every position of windowed layers, too.)
Status RefuseUnhonoured(const CompileOptions& options) {
  const std::string_view target = options.target;
  const bool is_qaic = target == "qaic";
  const bool is_graph = is_qaic || target == "onnx";
  const bool is_program = target != "onnx";
  const QaicOptions& qaic = options.qaic;
  const struct {
    std::string_view name;
    bool given;
    bool honoured;
  } by_target[] = {
      {"mxfp6_matmul", options.mxfp6_matmul, is_program},
      {"mxint8_kv_cache", options.mxint8_kv_cache, is_program},
      {"num_devices", options.num_devices != 1, is_qaic},
      {"skip_lang", options.skip_lang, is_graph},
      {"height", options.height.has_value(), is_graph},
      {"width", options.width.has_value(), is_graph},
      {"use_onnx_subfunctions", options.use_onnx_subfunctions, is_graph},
      {"onnx_sentinel", options.onnx_sentinel != "int32max", is_graph},
      {"aic_hw_version", qaic.aic_hw_version != "ai100", is_qaic},
      {"mdp_num_partitions", qaic.mdp_num_partitions != 1, is_qaic},
      {"mdp_load_partition_config", !qaic.mdp_load_partition_config.empty(), is_qaic},
      {"compiler_options", !qaic.compiler_options.empty(), is_qaic},
      {"qaic_compiler", !qaic.qaic_compiler.empty(), is_qaic},
  };
  for (const auto& option : by_target) {
    if (option.given && !option.honoured) {
      return Unsupported("{}: the target {} does not have this option", option.name, target);
    }
  }
  return {};
}

Status CheckQaic(const CompileOptions& options) {
  EXPERTILE_RETURN_IF_ERROR(CheckRange("num_devices", options.num_devices, 1, kMaxDevices));
  const QaicOptions& qaic = options.qaic;
  EXPERTILE_RETURN_IF_ERROR(
      CheckRange("mdp_num_partitions", qaic.mdp_num_partitions, 1, options.num_devices));
  if (options.num_devices % qaic.mdp_num_partitions != 0) {
    return InvalidArgument("mdp_num_partitions: {}, which does not divide num_devices {}",
                           qaic.mdp_num_partitions, options.num_devices);
  }
  if (qaic.aic_hw_version != "ai100" && qaic.aic_hw_version != "ai200") {
    return InvalidArgument("aic_hw_version: {}, expected ai100 or ai200",
                           OneLine(qaic.aic_hw_version));
  }
  if (!qaic.mdp_load_partition_config.empty() && qaic.mdp_num_partitions > 1) {
    return InvalidArgument(
        "mdp_load_partition_config: a partition file and mdp_num_partitions {}, expected one of "
        "the two",
        qaic.mdp_num_partitions);
  }
  return {};
}

}  // namespace

Status CheckOptions(const CompileOptions& options) {
  if (!Contains({"reference", "cpu", "onnx", "qaic"}, options.target)) {
    return InvalidArgument("target: {}, expected reference, cpu, onnx or qaic",
                           OneLine(options.target));
  }
  if (options.dtype != "float32" && options.dtype != "bfloat16") {
    return InvalidArgument("dtype: {}, expected float32 or bfloat16", options.dtype);
  }
  if (options.dtype == "bfloat16" && options.target != "cpu") {
    return InvalidArgument("dtype: bfloat16, the target {} has float32 only", options.target);
  }
  if (!Contains({"int32max", "in-bounds"}, options.onnx_sentinel)) {
    return InvalidArgument("onnx_sentinel: {}, expected int32max or in-bounds",
                           OneLine(options.onnx_sentinel));
  }
  EXPERTILE_RETURN_IF_ERROR(CheckRange("batch_size", options.batch_size, 1, kMaxBatchSize));
  EXPERTILE_RETURN_IF_ERROR(CheckRange("prefill_seq_len", options.prefill_seq_len, 1, kMaxSize));
  EXPERTILE_RETURN_IF_ERROR(CheckRange("moe_prefill_packed_chunk_size",
                                       options.moe_prefill_packed_chunk_size, 1, kMaxSize));
  if (options.ctx_len) {
    EXPERTILE_RETURN_IF_ERROR(CheckRange("ctx_len", *options.ctx_len, 1, kMaxSize));
  }
  if (options.prefill_only.value_or(false) && options.prefill_seq_len == 1) {
    return InvalidArgument(
        "prefill_only: true with prefill_seq_len: 1, which makes a decode program");
  }
  EXPERTILE_RETURN_IF_ERROR(CheckRange("num_cores", options.num_cores, 0, kMaxCores));
  EXPERTILE_RETURN_IF_ERROR(RefuseUnhonoured(options));
  return CheckQaic(options);
}

}  // namespace expertile
