// Package: a program's folder on disk, opened. Sections are mapped and used in place, so opening
// reads the manifest alone. Not its writing (package_writer.h), and not what its weights mean.
//
//   manifest.json          what it holds and what made it (program/manifest.h)
//   sections/<sha256>.bin  packed weights, a file per group; other programs may share the file
//   assets/                copies of the model's small files: config.json, tokenizer.json, …
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "program/manifest.h"
#include "targets/weight_store.h"

namespace expertile {

class Package : public WeightReader {
 public:
  // Checks the manifest whole and the size of every other file. Errors name the file and both
  // values.
  static Result<Package> Open(const std::filesystem::path& folder);
  // Whether a folder claims to be a package.
  static bool IsPackage(const std::filesystem::path& folder);

  // Reads every byte. Errors: a file whose hash is not the manifest's, with both.
  Status Verify() const;

  const Manifest& manifest() const { return manifest_; }
  std::filesystem::path assets_folder() const { return folder_ / "assets"; }

  bool Has(std::string_view name) const override { return blocks_.contains(name); }
  Result<std::span<const std::byte>> Find(std::string_view name, std::string_view format,
                                          int64_t num_bytes) const override;
  Result<std::string> FormatOf(std::string_view name) const override;

 private:
  explicit Package(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path SectionPath(const PackageFile& section) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  std::vector<MappedFile> sections_;                                // as in the manifest
  std::map<std::string, const PackageBlock*, std::less<>> blocks_;  // of manifest_
};

}  // namespace expertile
