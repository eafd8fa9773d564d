// The rows of the option table. An option is a field (expertile/options.h) and a row here.
#include "expertile/option_table.h"

#include <algorithm>
#include <array>

#include "compiling/target_table.h"

namespace expertile {
namespace {

using Group = OptionGroup;

// Far above any use, and small enough that products of options stay inside int64.
constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr int64_t kMaxBatchSize = int64_t{1} << 20;
constexpr int64_t kMaxCores = 1024;
constexpr int64_t kMaxDevices = 1024;
constexpr int64_t kMaxInt = std::numeric_limits<int>::max();

// Access to the field that a path of member pointers leads to.
template <auto... path>
constexpr OptionField Field() {
  return +[](CompileOptions & options) -> auto& { return (options.*....*path); };
}
using Options = CompileOptions;
using Qaic = QaicOptions;

template <size_t... sizes>
std::vector<std::string> Words(const char (&... words)[sizes]) {
  return {words...};
}

const std::array kRows = {
    OptionRow{.name = "target",
              .field = Field<&Options::target>(),
              .help = "What the program is for",
              .fingerprinted = Fingerprinted::kAlways,
              .choices = TargetNames},
    OptionRow{.name = "dtype",
              .field = Field<&Options::dtype>(),
              .help = "Arithmetic of matrix products",
              .unset = "float32; cuda: bfloat16",
              .fingerprinted = Fingerprinted::kAlways,
              .choices = ArithmeticNames},
    OptionRow{.name = "batch_size",
              .field = Field<&Options::batch_size>(),
              .help = "Sequences of a session",
              .fingerprinted = Fingerprinted::kAlways,
              .min = 1,
              .max = kMaxBatchSize},
    OptionRow{.name = "prefill_seq_len",
              .field = Field<&Options::prefill_seq_len>(),
              .help = "Prompt tokens of a sequence per prefill step; 1 makes a decode program",
              .fingerprinted = Fingerprinted::kAlways,
              .min = 1,
              .max = kMaxSize},
    OptionRow{.name = "ctx_len",
              .field = Field<&Options::ctx_len>(),
              .help = "Positions of a sequence",
              .unset = "4096, or what the model has",
              .fingerprinted = Fingerprinted::kAlways,
              .min = 1,
              .max = kMaxSize},
    OptionRow{.name = "num_cores",
              .field = Field<&Options::num_cores>(),
              .help = "Workers; qaic: cores of each device; 0 = the default",
              .unset = "all processors; cuda: 1; onnx, qaic: 16",
              .fingerprinted = Fingerprinted::kAlways,
              .min = 0,
              .max = kMaxCores},
    OptionRow{
        .name = "moe_prefill_num_nsp",
        .field = Field<&Options::moe_prefill_num_nsp>(),
        .help = "Expert groups that prefill in parallel; auto = what suits the model and the cores",
        .fingerprinted = Fingerprinted::kAlways,
        .min = 1,
        .max = kMaxInt,
        .max_text = "the number of experts",
        .auto_value = Options::kAutoNumNsp},
    OptionRow{.name = "moe_prefill_packed_chunk_size",
              .field = Field<&Options::moe_prefill_packed_chunk_size>(),
              .help = "Rows of packed tokens per step; auto = what suits the model and the cores",
              .fingerprinted = Fingerprinted::kAlways,
              .min = 1,
              .max = kMaxSize,
              .auto_value = Options::kAutoChunkSize},
    OptionRow{.name = "mxfp6_matmul",
              .field = Field<&Options::mxfp6_matmul>(),
              .help = "Weights in MXFP6",
              .group = Group::kBlockFormats,
              .fingerprinted = Fingerprinted::kAlways},
    OptionRow{.name = "mxint8_kv_cache",
              .field = Field<&Options::mxint8_kv_cache>(),
              .help = "KV cache in MXINT8",
              .group = Group::kBlockFormats,
              .fingerprinted = Fingerprinted::kAlways},
    OptionRow{.name = "prefill_only",
              .field = Field<&Options::prefill_only>(),
              .help = "Yes: prefill alone, which decode programs go on from; no, of graphs: decode "
                      "alone",
              .unset = "both",
              .fingerprinted = Fingerprinted::kAlways},
    OptionRow{.name = "enable_chunking",
              .field = Field<&Options::enable_chunking>(),
              .help = "A prefill_only program takes prompts longer than prefill_seq_len; others "
                      "always do",
              .fingerprinted = Fingerprinted::kAlways},
    OptionRow{.name = "retain_full_kv",
              .field = Field<&Options::retain_full_kv>(),
              .help = "Windowed layers keep every position in the KV cache; they always do",
              .fingerprinted = Fingerprinted::kAlways},
    OptionRow{.name = "skip_vision",
              .field = Field<&Options::skip_vision>(),
              .help = "Leave the vision part out",
              .fingerprinted = Fingerprinted::kAlways},
    OptionRow{.name = "skip_lang",
              .field = Field<&Options::skip_lang>(),
              .help = "Leave the language part out",
              .group = Group::kGraphs,
              .fingerprinted = Fingerprinted::kAlways},
    OptionRow{.name = "height",
              .field = Field<&Options::height>(),
              .help = "Height of images, pixels",
              .unset = "354",
              .group = Group::kGraphs,
              .fingerprinted = Fingerprinted::kAlways,
              .min = 1,
              .max = kMaxSize},
    OptionRow{.name = "width",
              .field = Field<&Options::width>(),
              .help = "Width of images, pixels",
              .unset = "536",
              .group = Group::kGraphs,
              .fingerprinted = Fingerprinted::kAlways,
              .min = 1,
              .max = kMaxSize},
    OptionRow{.name = "use_onnx_subfunctions",
              .field = Field<&Options::use_onnx_subfunctions>(),
              .help = "One ONNX function per distinct decoder layer",
              .group = Group::kGraphs,
              .fingerprinted = Fingerprinted::kAlways},
    OptionRow{.name = "onnx_sentinel",
              .field = Field<&Options::onnx_sentinel>(),
              .help =
                  "Rows of index INT32_MAX: dropped, as on Cloud AI 100 (int32max), or not made, "
                  "so that any runtime runs the graph (in-bounds)",
              .group = Group::kGraphs,
              .choices = [] { return Words("int32max", "in-bounds"); }},
    OptionRow{.name = "num_devices",
              .field = Field<&Options::num_devices>(),
              .help = "Devices that share the model",
              .group = Group::kCloudAi100,
              .fingerprinted = Fingerprinted::kAlways,
              .min = 1,
              .max = kMaxDevices},
    OptionRow{.name = "aic_hw_version",
              .field = Field<&Options::qaic, &Qaic::aic_hw_version>(),
              .help = "The card",
              .group = Group::kCloudAi100,
              .fingerprinted = Fingerprinted::kByContents,
              .choices = [] { return Words("ai100", "ai200"); }},
    OptionRow{.name = "mdp_num_partitions",
              .field = Field<&Options::qaic, &Qaic::mdp_num_partitions>(),
              .help = "Pipeline stages of the devices",
              .group = Group::kCloudAi100,
              .fingerprinted = Fingerprinted::kByContents,
              .min = 1,
              .max = kMaxDevices,
              .max_text = "num_devices"},
    OptionRow{.name = "mdp_load_partition_config",
              .field = Field<&Options::qaic, &Qaic::mdp_load_partition_config>(),
              .help = "A partition file of your own",
              .group = Group::kCloudAi100,
              .fingerprinted = Fingerprinted::kByContents},
    OptionRow{.name = "compiler_options",
              .field = Field<&Options::qaic, &Qaic::compiler_options>(),
              .help =
                  "NAME or NAME=VALUE passed on to the compiler (mos=1); again for each further "
                  "one",
              .group = Group::kCloudAi100,
              .fingerprinted = Fingerprinted::kByContents,
              .flag = "--compiler-option"},
    OptionRow{.name = "qaic_compiler",
              .field = Field<&Options::qaic, &Qaic::qaic_compiler>(),
              .help = "The compiler",
              .unset = "$EXPERTILE_QAIC_COMPILER, else /opt/qti-aic/exec/qaic-compile",
              .group = Group::kCloudAi100,
              .fingerprinted = Fingerprinted::kNever},
    OptionRow{.name = "compile_dir",
              .field = Field<&Options::compile_dir>(),
              .help = "Put the program's folder in this one",
              .fingerprinted = Fingerprinted::kNever},
    OptionRow{.name = "cache_dir",
              .field = Field<&Options::cache_dir>(),
              .help = "Compile cache",
              .unset = "$EXPERTILE_HOME, else $XDG_CACHE_HOME/expertile, else ~/.cache/expertile",
              .fingerprinted = Fingerprinted::kNever},
};

}  // namespace

std::span<const OptionRow> OptionTable() { return kRows; }

const OptionRow* FindOption(std::string_view name) {
  const auto row = std::ranges::find(kRows, name, &OptionRow::name);
  return row == kRows.end() ? nullptr : &*row;
}

}  // namespace expertile
