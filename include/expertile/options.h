// CompileOptions: everything that decides what a program is. One name each, the same in C++, on the
// command line (with dashes) and in Python. Not how to generate (generation.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "expertile/result.h"

namespace expertile {

// What the compiler of Cloud AI 100 gets beside the rest (docs/cloud-ai-100.md); target qaic only.
struct QaicOptions {
  std::string aic_hw_version = "ai100";       // ai100 | ai200
  int mdp_num_partitions = 1;                 // pipeline stages; it divides num_devices
  std::string mdp_load_partition_config;      // a partition file of your own
  std::vector<std::string> compiler_options;  // passed on in this order: "mos=1", "user_tiled"
  // The compiler; empty = $EXPERTILE_QAIC_COMPILER, else where the SDK installs it.
  std::string qaic_compiler;
};

struct CompileOptions {
  // reference and cpu run here; onnx makes graphs, qaic programs for a Cloud AI 100.
  std::string target = "cpu";
  // Arithmetic of matrix products: float32 | bfloat16 | mxint8; empty = float32, or the first that
  // the target has. Resolved options say which.
  std::string dtype;

  int64_t batch_size = 1;         // sequences of a session, >= 1
  int64_t prefill_seq_len = 512;  // prompt tokens of one sequence in a prefill step, >= 1
  std::optional<int64_t>
      ctx_len;  // positions of a sequence; none = 4096, or what the model has if that is less
  // Workers; 0 = all processors that this process may use. With qaic the cores of each device, with
  // onnx what auto means; 0 = 16.
  int num_cores = 0;
  int num_devices = 1;

  // Expert groups of prefill's MoE layers, 1 to E; none = blocking off. kAutoNumNsp and
  // kAutoChunkSize stand for what suits the model, prefill_seq_len and num_cores.
  static constexpr int kAutoNumNsp = -1;
  std::optional<int> moe_prefill_num_nsp;
  static constexpr int64_t kAutoChunkSize = -1;
  int64_t moe_prefill_packed_chunk_size = 256;  // rows of packed tokens handled per step, >= 1

  bool mxfp6_matmul = false;
  bool mxint8_kv_cache = false;
  std::optional<bool> prefill_only;
  bool enable_chunking = false;
  bool retain_full_kv = false;
  bool skip_vision = false;
  bool skip_lang = false;
  std::optional<int64_t> height;  // of images, pixels
  std::optional<int64_t> width;
  bool use_onnx_subfunctions = false;  // one ONNX function per distinct decoder layer
  // What an index of INT32_MAX means in graphs: "int32max", the row is dropped, as on Cloud AI 100;
  // or "in-bounds", where no such index is made and any runtime computes the same.
  std::string onnx_sentinel = "int32max";
  QaicOptions qaic;
  std::string compile_dir;
  std::string cache_dir;
};

// Refuses values out of range, and options that the target cannot honour, each by its name.
Status CheckOptions(const CompileOptions& options);

}  // namespace expertile
