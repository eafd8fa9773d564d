// PackageWriter: a package as it is made, piece by piece, in bounded memory. It appears under its
// name only when Finish() succeeds. Not the decision whether to make one (compile_cache.h).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "program/manifest.h"
#include "targets/weight_store.h"

namespace expertile {

class PackageWriter : public WeightWriter {
 public:
  // Writes in the new folder `scratch`, which goes away unless Finish() succeeds. Sections that
  // `store` has already, by their hash, are linked and not kept twice; new ones are linked into it.
  static Result<PackageWriter> Create(const std::filesystem::path& scratch,
                                      const std::filesystem::path& store);
  PackageWriter(PackageWriter&& other) noexcept;
  PackageWriter& operator=(PackageWriter&&) = delete;
  ~PackageWriter() override;

  // A copy of a small file that the program needs.
  Status AddAsset(const std::string& name, std::span<const std::byte> bytes);

  Status BeginGroup(std::string_view group) override;
  Status Begin(const WeightBlock& block) override;
  Result<std::span<std::byte>> Piece(int64_t num_bytes) override;

  // Writes the manifest and moves the folder to `folder`, where nothing may be.
  Status Finish(const ProgramOrigin& origin, const std::filesystem::path& folder);

 private:
  PackageWriter(std::filesystem::path scratch, std::filesystem::path store)
      : scratch_(std::move(scratch)), store_(std::move(store)) {}

  Status FlushPiece();
  Status Append(std::span<const std::byte> bytes);
  Status EndBlock();
  Status EndGroup();

  std::filesystem::path scratch_;  // empty when there is nothing to clean up
  std::filesystem::path store_;
  Manifest manifest_;
  std::vector<std::byte> piece_;
  size_t pending_ = 0;        // bytes of piece_ that are not written yet
  int64_t block_offset_ = 0;  // of the current block
  int64_t section_size_ = 0;  // bytes written to the current section
  int section_file_ = -1;     // its descriptor; -1 between groups
  std::string group_;
  Sha256 hash_;
};

}  // namespace expertile
