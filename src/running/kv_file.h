// The states of one sequence as a file: what a prefill program hands to a decode program in another
// process. docs/kv-cache-file.md is the layout. Not a session's cache in memory: that is its
// target's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "expertile/result.h"
#include "formats/kv_codec.h"
#include "formats/safetensors.h"
#include "model/decoder_spec.h"
#include "targets/target.h"

namespace expertile {

// Written. Version 1, which has no next_deltas and names no states, is read, too.
inline constexpr int kKvFileVersion = 2;

// What a file and a program must agree on, and where its sequence stands.
struct KvHeader {
  std::string model;  // SHA-256 of the checkpoint's weights and configuration
  KvFormat kv_format = KvFormat::kFloat32;
  int64_t ctx_len = 0;     // of the program
  int64_t num_tokens = 0;  // positions 0 to num_tokens - 1
  int32_t rope_delta = 0;  // RoPE's position of the next token, less its index
};

// Writes the first header.num_tokens positions of the sequence with these blocks, whole or not at
// all. next_deltas [num_tokens]: Sequences::next_deltas().
Status WriteKvFile(const std::filesystem::path& path, const KvHeader& header,
                   const DecoderSpec& spec, TargetSession& session, BlockTable blocks,
                   std::span<const int32_t> next_deltas);

class KvFile {
 public:
  // `expected` has the program's model, kv_format and ctx_len; spec and the header's are the
  // model's. Errors: kInvalidArgument for a file of another model, format or ctx_len, kUnsupported
  // for a newer version or a state that the model does not have, kInvalidData for damaged bytes;
  // each with both values.
  static Result<KvFile> Open(const std::filesystem::path& path, const KvHeader& expected,
                             const DecoderSpec& spec);

  const KvHeader& header() const { return header_; }
  const std::vector<int32_t>& next_deltas() const { return next_deltas_; }  // [num_tokens]
  // Gives the file's positions to the sequence with these blocks.
  Status ReadInto(TargetSession& session, BlockTable blocks) const;

 private:
  KvFile(SafetensorsFile file, KvHeader header, const DecoderSpec& spec)
      : file_(std::move(file)), header_(std::move(header)), spec_(spec) {}

  SafetensorsFile file_;
  KvHeader header_;
  const DecoderSpec& spec_;
  std::vector<int32_t> next_deltas_;
};

}  // namespace expertile
