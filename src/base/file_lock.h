// FileLock: one process at a time, for as long as it lives.
// Not for threads of one process among themselves.
#pragma once

#include <filesystem>
#include <utility>

#include "base/watch.h"
#include "expertile/result.h"

namespace expertile {

// An exclusive lock, which the kernel releases when its holder dies. Waits for another holder, and
// meanwhile tells `watch` some times a second that nothing is done: its error ends the wait.
class FileLock {
 public:
  // The file is made if it is not there.
  static Result<FileLock> OnFile(const std::filesystem::path& file, const Watch& watch);
  static Result<FileLock> OnFolder(const std::filesystem::path& folder, const Watch& watch);
  FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  static Result<FileLock> Acquire(const std::filesystem::path& path, int flags, const Watch& watch);

  int descriptor_;
};

}  // namespace expertile
