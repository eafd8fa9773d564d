// What a compiled program's folder says of itself, and checking its bytes.
// Not for running it (model.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "expertile/result.h"

namespace expertile {

struct ProgramSection {
  std::string group;  // "layers.3"
  std::string sha256;
  int64_t num_bytes = 0;
};

// All weights of one number format.
struct ProgramFormat {
  std::string format;        // "bfloat16"
  int64_t num_elements = 0;  // weights
  int64_t num_bytes = 0;     // with scales and padding
};

struct ProgramSpecialization {
  std::string name;  // "Prefill" or "Decode"
  int64_t batch_size = 0;
  int64_t seq_len = 0;
  int64_t ctx_len = 0;
};

struct ProgramDescription {
  std::string fingerprint;
  std::string model_type;
  std::string model_digest;  // SHA-256 of the weights and config.json that it was made of
  std::string target;
  std::string isa;
  std::vector<std::pair<std::string, std::string>> options;  // name and value as JSON, by name
  std::vector<ProgramSpecialization> specializations;
  std::vector<ProgramSection> sections;
  std::vector<ProgramFormat> formats;  // by name
  int64_t num_bytes = 0;               // of all sections
};

// Reads the manifest. Errors: those of Program::Open() for damaged packages.
Result<ProgramDescription> DescribeProgram(const std::filesystem::path& folder);

// Reads every byte of a program and compares it with the manifest's hashes; the error names the
// file that differs, with both hashes.
Status VerifyProgram(const std::filesystem::path& folder);

}  // namespace expertile
