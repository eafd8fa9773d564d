// Checks compile options against their ranges and against what the targets of this build can do.
#include "expertile/options.h"

#include <string_view>

#include "base/error.h"

namespace expertile {
namespace {

// Far above any use, and small enough that products of options stay inside int64.
constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr int64_t kMaxBatchSize = int64_t{1} << 20;
constexpr int64_t kMaxCores = 1024;

Status CheckRange(std::string_view name, int64_t value, int64_t min, int64_t max) {
  if (value < min || value > max) {
    return InvalidArgument("{}: {}, expected {} to {}", name, value, min, max);
  }
  return {};
}

// An option that no target of this build honours is refused, never ignored. (retain_full_kv is
// honoured always: the caches of cpu and reference keep every position of windowed layers, too.)
Status RefuseUnhonoured(const CompileOptions& options) {
  const struct {
    std::string_view name;
    bool given;
  } unhonoured[] = {
      {"num_devices", options.num_devices != 1},
      {"skip_lang", options.skip_lang},
      {"height", options.height.has_value()},
      {"width", options.width.has_value()},
      {"use_onnx_subfunctions", options.use_onnx_subfunctions},
  };
  for (const auto& option : unhonoured) {
    if (option.given) {
      return Unsupported("{}: the target {} does not have this option", option.name,
                         options.target);
    }
  }
  return {};
}

}  // namespace

Status CheckOptions(const CompileOptions& options) {
  if (options.target != "reference" && options.target != "cpu") {
    return InvalidArgument("target: {}, expected reference or cpu", options.target);
  }
  if (options.dtype != "float32" && options.dtype != "bfloat16") {
    return InvalidArgument("dtype: {}, expected float32 or bfloat16", options.dtype);
  }
  if (options.dtype == "bfloat16" && options.target == "reference") {
    return InvalidArgument("dtype: bfloat16, the target reference computes in float32 only");
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
  return RefuseUnhonoured(options);
}

}  // namespace expertile
