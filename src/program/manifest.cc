#include "program/manifest.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/sha256.h"
#include "expertile/version.h"
#include "formats/json.h"

namespace expertile {
namespace {

using nlohmann::json;

constexpr const char* kFormatName = "expertile-program";
constexpr const char* kChecksum = "checksum";
constexpr Bounds<int64_t> kSize = {0, int64_t{1} << 50};

std::string Sha256OfText(const std::string& text) {
  return Sha256Hex(std::as_bytes(std::span(text)));
}

json FilesToJson(const std::vector<PackageFile>& files) {
  json list = json::array();
  for (const PackageFile& file : files) {
    list.push_back({{"name", file.name}, {"sha256", file.sha256}, {"bytes", file.num_bytes}});
  }
  return list;
}

json SpecializationsToJson(const std::vector<Specialization>& specializations) {
  json list = json::array();
  for (const Specialization& each : specializations) {
    list.push_back({{"name", each.name},
                    {"batch_size", each.batch_size},
                    {"seq_len", each.seq_len},
                    {"ctx_len", each.ctx_len}});
  }
  return list;
}

json BlocksToJson(const std::vector<PackageBlock>& blocks) {
  json list = json::array();
  for (const PackageBlock& each : blocks) {
    list.push_back({{"name", each.block.name},
                    {"section", each.section},
                    {"offset", each.offset},
                    {"bytes", each.block.num_bytes},
                    {"format", each.block.format},
                    {"elements", each.block.num_elements}});
  }
  return list;
}

json ToJson(const Manifest& manifest) {
  const ProgramOrigin& origin = manifest.origin;
  return {{"format", kFormatName},
          {"format_version", kPackageVersion},
          {"expertile_version", kVersion},
          {"fingerprint", origin.fingerprint},
          {"model_type", origin.model_type},
          {"model_digest", origin.model_digest},
          {"target", origin.target},
          {"isa", origin.isa},
          {"options", origin.options},
          {"specializations", SpecializationsToJson(origin.specializations)},
          {"assets", FilesToJson(manifest.assets)},
          {"sections", FilesToJson(manifest.sections)},
          {"blocks", BlocksToJson(manifest.blocks)}};
}

std::string TextWithChecksum(json object) {
  object[kChecksum] = Sha256OfText(object.dump());
  return object.dump(1) + "\n";
}

bool IsSha256(const std::string& text) {
  return text.size() == 64 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// The text is exactly what would be written of what it says.
Status CheckWholeText(std::string_view text, std::string_view source) {
  EXPERTILE_ASSIGN(json object, ParseJson(text, source));
  if (!object.is_object()) return InvalidData("{}: expected an object", source);
  const auto stored = object.find(kChecksum);
  const std::string checksum =
      stored != object.end() && stored->is_string() ? stored->get<std::string>() : "missing";
  object.erase(kChecksum);
  const std::string computed = Sha256OfText(object.dump());
  if (checksum != computed) {
    return InvalidData("{}: checksum: {}, its text gives {}", source, OneLine(checksum), computed);
  }
  if (TextWithChecksum(std::move(object)) != text) {
    return InvalidData("{}: not as it was written: its spaces differ", source);
  }
  return {};
}

Result<std::vector<PackageFile>> ReadFiles(const JsonObject& object, const char* key,
                                           std::string_view source) {
  EXPERTILE_ASSIGN(const std::vector<JsonObject> list, object.GetObjectList(key));
  std::vector<PackageFile> files;
  for (const JsonObject& each : list) {
    PackageFile file;
    EXPERTILE_ASSIGN(file.name, each.GetString("name"));
    EXPERTILE_ASSIGN(file.sha256, each.GetString("sha256"));
    EXPERTILE_ASSIGN(file.num_bytes, each.GetInt("bytes", kRequired, kSize));
    if (!IsSha256(file.sha256)) {
      return InvalidData("{}: {}: sha256: {}, expected 64 hexadecimal digits", source, key,
                         OneLine(file.sha256));
    }
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::vector<Specialization>> ReadSpecializations(const JsonObject& object) {
  EXPERTILE_ASSIGN(const std::vector<JsonObject> list, object.GetObjectList("specializations"));
  std::vector<Specialization> specializations;
  for (const JsonObject& each : list) {
    Specialization one;
    EXPERTILE_ASSIGN(one.name, each.GetString("name"));
    EXPERTILE_ASSIGN(one.batch_size, each.GetInt("batch_size", kRequired, kSize));
    EXPERTILE_ASSIGN(one.seq_len, each.GetInt("seq_len", kRequired, kSize));
    EXPERTILE_ASSIGN(one.ctx_len, each.GetInt("ctx_len", kRequired, kSize));
    specializations.push_back(std::move(one));
  }
  return specializations;
}

Result<std::vector<PackageBlock>> ReadBlocks(const JsonObject& object) {
  EXPERTILE_ASSIGN(const std::vector<JsonObject> list, object.GetObjectList("blocks"));
  std::vector<PackageBlock> blocks;
  for (const JsonObject& each : list) {
    PackageBlock block;
    EXPERTILE_ASSIGN(block.block.name, each.GetString("name"));
    EXPERTILE_ASSIGN(block.block.format, each.GetString("format"));
    EXPERTILE_ASSIGN(block.block.num_elements, each.GetInt("elements", kRequired, kSize));
    EXPERTILE_ASSIGN(block.block.num_bytes, each.GetInt("bytes", kRequired, kSize));
    EXPERTILE_ASSIGN(block.section, each.GetInt("section", kRequired, kSize));
    EXPERTILE_ASSIGN(block.offset, each.GetInt("offset", kRequired, kSize));
    blocks.push_back(std::move(block));
  }
  return blocks;
}

Status CheckBlocks(const Manifest& manifest, std::string_view source) {
  std::set<std::string> names;
  std::map<std::pair<int64_t, int64_t>, const PackageBlock*> by_place;  // (section, offset)
  for (const PackageBlock& block : manifest.blocks) {
    const std::string& name = block.block.name;
    if (!names.insert(name).second) {
      return InvalidData("{}: blocks: {} twice", source, OneLine(name));
    }
    if (block.section >= static_cast<int64_t>(manifest.sections.size())) {
      return InvalidData("{}: blocks: {} in section {} of {}", source, OneLine(name), block.section,
                         manifest.sections.size());
    }
    const int64_t section_bytes = manifest.sections[block.section].num_bytes;
    if (block.offset % kBlockAlignment != 0 ||
        block.block.num_bytes > section_bytes - std::min(section_bytes, block.offset)) {
      return InvalidData("{}: blocks: {} has {} bytes at {} of a section of {}", source,
                         OneLine(name), block.block.num_bytes, block.offset, section_bytes);
    }
    by_place[{block.section, block.offset}] = &block;
  }
  const PackageBlock* before = nullptr;
  for (const auto& [place, block] : by_place) {
    if (before != nullptr && before->section == block->section &&
        before->offset + before->block.num_bytes > block->offset) {
      return InvalidData("{}: blocks: {} and {} overlap", source, OneLine(before->block.name),
                         OneLine(block->block.name));
    }
    before = block;
  }
  if (by_place.size() != manifest.blocks.size()) {
    return InvalidData("{}: blocks: two at one place", source);
  }
  return {};
}

}  // namespace

std::string ManifestText(const Manifest& manifest) { return TextWithChecksum(ToJson(manifest)); }

Result<Manifest> ParseManifest(std::string_view text, std::string_view source) {
  EXPERTILE_ASSIGN(const JsonObject object, JsonObject::Parse(text, source));
  EXPERTILE_ASSIGN(const std::string format, object.GetString("format", ""));
  if (format != kFormatName) {
    return InvalidData("{}: format: {}, expected {}", source, OneLine(format), kFormatName);
  }
  EXPERTILE_ASSIGN(const int64_t version, object.GetInt("format_version"));
  if (version != kPackageVersion) {
    return Unsupported("{}: format_version: {}, this build reads {}", source, version,
                       kPackageVersion);
  }
  EXPERTILE_RETURN_IF_ERROR(CheckWholeText(text, source));
  Manifest manifest;
  ProgramOrigin& origin = manifest.origin;
  EXPERTILE_ASSIGN(origin.fingerprint, object.GetString("fingerprint"));
  EXPERTILE_ASSIGN(origin.model_type, object.GetString("model_type"));
  EXPERTILE_ASSIGN(origin.model_digest, object.GetString("model_digest"));
  EXPERTILE_ASSIGN(origin.target, object.GetString("target"));
  EXPERTILE_ASSIGN(origin.isa, object.GetString("isa"));
  EXPERTILE_RETURN_IF_ERROR(object.GetObject("options"));
  origin.options = json::parse(text)["options"];
  EXPERTILE_ASSIGN(origin.specializations, ReadSpecializations(object));
  EXPERTILE_ASSIGN(manifest.assets, ReadFiles(object, "assets", source));
  EXPERTILE_ASSIGN(manifest.sections, ReadFiles(object, "sections", source));
  EXPERTILE_ASSIGN(manifest.blocks, ReadBlocks(object));
  EXPERTILE_RETURN_IF_ERROR(CheckBlocks(manifest, source));
  return manifest;
}

std::string FingerprintOf(const json& object) { return Sha256OfText(object.dump()); }

}  // namespace expertile
