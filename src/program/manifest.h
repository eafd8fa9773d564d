// Manifest: what a program package holds and what made it, as plain data and as manifest.json.
// Not the weights (package.h).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/result.h"
#include "targets/weight_store.h"

namespace expertile {

inline constexpr int kPackageVersion = 1;
inline constexpr const char* kManifestName = "manifest.json";

// One set of static shapes.
struct Specialization {
  std::string name;  // "Prefill" or "Decode"
  int64_t batch_size = 1;
  int64_t seq_len = 1;
  int64_t ctx_len = 1;
};

// What made a program.
struct ProgramOrigin {
  std::string fingerprint;  // of everything below and of the format's version
  std::string model_type;
  std::string model_digest;  // of the checkpoint's weights and configuration
  std::string target;
  std::string isa;         // instruction set that the weights are packed for
  nlohmann::json options;  // an object: option to value
  std::vector<Specialization> specializations;
};

struct PackageFile {
  std::string name;  // of an asset; of a section the group that it holds
  std::string sha256;
  int64_t num_bytes = 0;
};

struct PackageBlock {
  WeightBlock block;
  int64_t section = 0;  // index into sections
  int64_t offset = 0;   // bytes, a multiple of kBlockAlignment
};

struct Manifest {
  ProgramOrigin origin;
  std::vector<PackageFile> assets;
  std::vector<PackageFile> sections;
  std::vector<PackageBlock> blocks;
};

// One text for one manifest, with a checksum of itself.
std::string ManifestText(const Manifest& manifest);

// Reads what ManifestText() wrote, and nothing else: any other byte is found by the checksum. Every
// block lies within its section, aligned, and overlaps no other. `source` names the text in errors.
// Errors: kUnsupported for another format version; kInvalidData.
Result<Manifest> ParseManifest(std::string_view text, std::string_view source);

// SHA-256 of a JSON object: equal for equal objects, whatever the order in which their fields were
// set.
std::string FingerprintOf(const nlohmann::json& object);

}  // namespace expertile
