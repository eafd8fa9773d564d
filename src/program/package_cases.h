// Small packages for tests: a few groups of patterned bytes.
// Not a target's weights.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "program/package_writer.h"

namespace expertile {

inline ProgramOrigin OriginOf(const std::string& what) {
  ProgramOrigin origin;
  origin.options = {{"target", "cpu"}, {"what", what}};
  origin.fingerprint = FingerprintOf(origin.options);
  origin.model_type = "tiny";
  origin.model_digest = std::string(64, 'a');
  origin.target = "cpu";
  origin.isa = "portable";
  origin.specializations = {{"Prefill", 1, 32, 64}, {"Decode", 1, 1, 64}};
  return origin;
}

// Byte i of a block of this name.
inline std::byte ByteOf(const std::string& name, int64_t i) {
  return static_cast<std::byte>((i * 131 + static_cast<int64_t>(name.size()) * 17) & 0xff);
}

inline Status WriteBlock(PackageWriter& writer, const std::string& name, int64_t num_bytes) {
  EXPERTILE_RETURN_IF_ERROR(writer.Begin({name, "bytes", num_bytes, num_bytes}));
  for (int64_t first = 0; first < num_bytes; first += 1000) {
    const int64_t count = std::min<int64_t>(1000, num_bytes - first);
    EXPERTILE_ASSIGN(const auto piece, writer.Piece(count));
    for (int64_t i = 0; i < count; ++i) piece[i] = ByteOf(name, first + i);
  }
  return {};
}

// Three groups; two blocks in each. `last` is the size of the last block.
inline Status WriteSmallPackage(PackageWriter& writer, int64_t last = 5000) {
  EXPERTILE_RETURN_IF_ERROR(writer.AddAsset("config.json", std::as_bytes(std::span("{}", 2))));
  for (int group = 0; group < 3; ++group) {
    const std::string name = "layers." + std::to_string(group);
    EXPERTILE_RETURN_IF_ERROR(writer.BeginGroup(name));
    EXPERTILE_RETURN_IF_ERROR(WriteBlock(writer, name + ".a", 100 + group));
    EXPERTILE_RETURN_IF_ERROR(WriteBlock(writer, name + ".bb", group == 2 ? last : 9000));
  }
  return {};
}

inline std::string ContentOf(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void Overwrite(const std::filesystem::path& path, const std::string& content) {
  if (std::filesystem::exists(path))
    std::filesystem::permissions(path, std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

}  // namespace expertile
