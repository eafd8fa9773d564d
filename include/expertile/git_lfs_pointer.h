// Telling a Git LFS pointer from the file it stands for: every reader of files refuses one.
// Not a client of Git LFS.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "expertile/result.h"

namespace expertile {

// What a file's bytes, named `path`, are refused with if they are a pointer: a clone without Git
// LFS has such a text of three lines (github.com/git-lfs/git-lfs, docs/spec.md) in the place of
// each large file.
inline std::optional<Error> GitLfsPointerError(std::string_view bytes, std::string_view path) {
  constexpr std::string_view kFirstLine = "version https://git-lfs.github.com/spec/";
  constexpr size_t kMaxSize = 1024;
  if (bytes.size() >= kMaxSize || !bytes.starts_with(kFirstLine)) return std::nullopt;
  return Error{ErrorCode::kInvalidData,
               std::string(path) +
                   ": a Git LFS pointer, not the file that it stands for: run `git lfs pull` in "
                   "the clone, or download the file itself"};
}

}  // namespace expertile
