// CompileOptions: everything that decides what a program is. One name each, the same in C++, on the
// command line (with dashes) and in Python. Not how to generate (generation.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "expertile/result.h"

namespace expertile {

struct CompileOptions {
  std::string target = "cpu";     // reference | cpu
  std::string dtype = "float32";  // the arithmetic of matrix products: float32 | bfloat16

  int64_t batch_size = 1;         // sequences of a session, >= 1
  int64_t prefill_seq_len = 512;  // prompt tokens of one sequence in a prefill step, >= 1
  std::optional<int64_t>
      ctx_len;        // positions of a sequence; none = 4096, or what the model has if that is less
  int num_cores = 0;  // workers; 0 = all processors that this process may use
  int num_devices = 1;

  // Expert groups of prefill's MoE layers, 1 to E; none = blocking off, kAutoNumNsp = num_cores (at
  // most E).
  static constexpr int kAutoNumNsp = -1;
  std::optional<int> moe_prefill_num_nsp;
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
  bool use_onnx_subfunctions = false;
  std::string compile_dir;
  std::string cache_dir;
};

// Refuses values out of range, and options that the target cannot honour, each by its name.
Status CheckOptions(const CompileOptions& options);

}  // namespace expertile
