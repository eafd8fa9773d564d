// The KV cache of one sequence as a file: what a prefill program hands to a decode program in
// another process. docs/kv-cache-file.md is the layout. Not a session's cache in memory: that is
// its target's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "expertile/result.h"
#include "formats/kv_codec.h"
#include "model/decoder_spec.h"
#include "targets/target.h"

namespace expertile {

inline constexpr int kKvFileVersion = 1;

// What a file and a program must agree on, and where its sequence stands.
struct KvHeader {
  std::string model;  // SHA-256 of the checkpoint's weights and configuration
  KvFormat kv_format = KvFormat::kFloat32;
  int64_t ctx_len = 0;     // of the program
  int64_t num_tokens = 0;  // positions 0 to num_tokens - 1
  int32_t rope_delta = 0;  // RoPE's position of the next token, less its index
};

// Writes the first header.num_tokens positions of `sequence`, whole or not at all.
Status WriteKvFile(const std::filesystem::path& path, const KvHeader& header,
                   const DecoderSpec& spec, const TargetSession& session, int64_t sequence);

// Reads a file into `sequence`, which is empty, and returns its header. `expected` has the
// program's model, kv_format and ctx_len. Errors, before anything is changed: kInvalidArgument for
// a file of another model, format or ctx_len, kUnsupported for a newer version, kInvalidData for
// damaged bytes; each with both values.
Result<KvHeader> ReadKvFile(const std::filesystem::path& path, const KvHeader& expected,
                            const DecoderSpec& spec, TargetSession& session, int64_t sequence);

}  // namespace expertile
