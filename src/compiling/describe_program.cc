// DescribeProgram and VerifyProgram: the public face of a package's manifest.
#include <map>
#include <nlohmann/json.hpp>

#include "expertile/program_description.h"
#include "program/package.h"

namespace expertile {

Result<ProgramDescription> DescribeProgram(const std::filesystem::path& folder) {
  EXPERTILE_ASSIGN(const Package package, Package::Open(folder));
  const Manifest& manifest = package.manifest();
  const ProgramOrigin& origin = manifest.origin;
  ProgramDescription description{.fingerprint = origin.fingerprint,
                                 .model_type = origin.model_type,
                                 .model_digest = origin.model_digest,
                                 .target = origin.target,
                                 .isa = origin.isa,
                                 .options = {},
                                 .specializations = {},
                                 .sections = {},
                                 .formats = {},
                                 .num_bytes = 0};
  for (const auto& [name, value] : origin.options.items()) {
    description.options.emplace_back(name, value.dump());
  }
  for (const Specialization& each : origin.specializations) {
    description.specializations.push_back({each.name, each.batch_size, each.seq_len, each.ctx_len});
  }
  for (const PackageFile& section : manifest.sections) {
    description.sections.push_back({section.name, section.sha256, section.num_bytes});
    description.num_bytes += section.num_bytes;
  }
  std::map<std::string, ProgramFormat> formats;
  for (const PackageBlock& block : manifest.blocks) {
    ProgramFormat& format = formats[block.block.format];
    format.format = block.block.format;
    format.num_elements += block.block.num_elements;
    format.num_bytes += block.block.num_bytes;
  }
  for (const auto& [name, format] : formats) description.formats.push_back(format);
  return description;
}

Status VerifyProgram(const std::filesystem::path& folder) {
  EXPERTILE_ASSIGN(const Package package, Package::Open(folder));
  return package.Verify();
}

}  // namespace expertile
