#include "program/package.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/sha256.h"

namespace expertile {
namespace {

Status CheckSize(const std::filesystem::path& path, int64_t size, int64_t expected) {
  if (size == expected) return {};
  return InvalidData("{}: {} bytes, the manifest says {}", path.string(), size, expected);
}

Status CheckHash(const std::filesystem::path& path, std::span<const std::byte> bytes,
                 const std::string& expected) {
  const std::string computed = Sha256Hex(bytes);
  if (computed == expected) return {};
  return InvalidData("{}: sha256 {}, the manifest says {}", path.string(), computed, expected);
}

bool IsPlainName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// Assets are files of the package itself: NAME or FOLDER/NAME, and no other path.
bool IsAssetName(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos) return IsPlainName(name);
  return IsPlainName(name.substr(0, slash)) && IsPlainName(name.substr(slash + 1));
}

}  // namespace

bool Package::IsPackage(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / kManifestName, ignored);
}

std::filesystem::path Package::SectionPath(const PackageFile& section) const {
  return folder_ / "sections" / (section.sha256 + ".bin");
}

Result<Package> Package::Open(const std::filesystem::path& folder) {
  Package package(folder);
  const auto manifest_path = folder / kManifestName;
  EXPERTILE_ASSIGN(const std::string text, ReadTextFile(manifest_path));
  EXPERTILE_ASSIGN(package.manifest_, ParseManifest(text, manifest_path.string()));
  for (const PackageFile& section : package.manifest_.sections) {
    const auto path = package.SectionPath(section);
    EXPERTILE_ASSIGN(MappedFile file, MappedFile::Open(path));
    EXPERTILE_RETURN_IF_ERROR(
        CheckSize(path, static_cast<int64_t>(file.bytes().size()), section.num_bytes));
    package.sections_.push_back(std::move(file));
  }
  for (const PackageFile& asset : package.manifest_.assets) {
    if (!IsAssetName(asset.name)) {
      return InvalidData("{}: assets: {}, expected the name of a file", manifest_path.string(),
                         OneLine(asset.name));
    }
    const auto path = package.assets_folder() / asset.name;
    EXPERTILE_ASSIGN(const MappedFile file, MappedFile::Open(path));
    EXPERTILE_RETURN_IF_ERROR(
        CheckSize(path, static_cast<int64_t>(file.bytes().size()), asset.num_bytes));
  }
  for (const PackageBlock& block : package.manifest_.blocks) {
    package.blocks_[block.block.name] = &block;
  }
  return package;
}

Status Package::Verify() const {
  for (size_t i = 0; i < sections_.size(); ++i) {
    const PackageFile& section = manifest_.sections[i];
    EXPERTILE_RETURN_IF_ERROR(
        CheckHash(SectionPath(section), sections_[i].bytes(), section.sha256));
    sections_[i].ReleasePages();
  }
  for (const PackageFile& asset : manifest_.assets) {
    const auto path = assets_folder() / asset.name;
    EXPERTILE_ASSIGN(const MappedFile file, MappedFile::Open(path));
    EXPERTILE_RETURN_IF_ERROR(CheckHash(path, file.bytes(), asset.sha256));
  }
  return {};
}

Result<std::span<const std::byte>> Package::Find(std::string_view name, std::string_view format,
                                                 int64_t num_bytes) const {
  const auto found = blocks_.find(name);
  if (found == blocks_.end()) {
    return NotFound("{}: {}: no such weights", folder_.string(), OneLine(name));
  }
  const WeightBlock& block = found->second->block;
  if (block.format != format || block.num_bytes != num_bytes) {
    return InvalidData("{}: {}: {} bytes of {}, expected {} of {}", folder_.string(), OneLine(name),
                       block.num_bytes, OneLine(block.format), num_bytes, format);
  }
  return sections_[found->second->section].bytes().subspan(found->second->offset, num_bytes);
}

Result<std::string> Package::FormatOf(std::string_view name) const {
  const auto found = blocks_.find(name);
  if (found == blocks_.end()) {
    return NotFound("{}: {}: no such weights", folder_.string(), OneLine(name));
  }
  return found->second->block.format;
}

}  // namespace expertile
