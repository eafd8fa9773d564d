// ScratchFolder: a folder of this process alone, gone with all it holds at the end of the scope.
// Not for tests: base/temporary_folder.h.
#pragma once

#include <filesystem>
#include <string_view>
#include <utility>

#include "expertile/result.h"

namespace expertile {

class ScratchFolder {
 public:
  // <parent>/<prefix>XXXXXX, the last six characters being new. A process that is killed leaves it.
  static Result<ScratchFolder> Create(const std::filesystem::path& parent, std::string_view prefix);
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace expertile
