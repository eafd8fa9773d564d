// FileDigests: SHA-256 of large files, remembered in a folder, so that a file that did not change
// is not read again. Not of small files or of memory (base/sha256.h).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/watch.h"
#include "expertile/result.h"

namespace expertile {

class FileDigests {
 public:
  // `folder` is created when it is first needed. Several processes may share it.
  explicit FileDigests(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // One hash of the contents of `files`, whatever their names, folders and times. A file is known
  // by its device, inode, size and times of change. `watch` is told the bytes read.
  Result<std::string> DigestOf(const std::vector<std::filesystem::path>& files,
                               const Watch& watch) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace expertile
