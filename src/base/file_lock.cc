#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/error.h"

namespace expertile {

Result<FileLock> FileLock::OnFile(const std::filesystem::path& file, const Watch& watch) {
  return Acquire(file, O_RDWR | O_CREAT, watch);
}

Result<FileLock> FileLock::OnFolder(const std::filesystem::path& folder, const Watch& watch) {
  return Acquire(folder, O_RDONLY | O_DIRECTORY, watch);
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<FileLock> FileLock::Acquire(const std::filesystem::path& path, int flags,
                                   const Watch& watch) {
  constexpr std::chrono::milliseconds kPause(50);
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (descriptor < 0) return IoError("{}: cannot open: {}", path.string(), std::strerror(errno));
  FileLock lock(descriptor);
  while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR && errno != EWOULDBLOCK) {
      return IoError("{}: cannot lock: {}", path.string(), std::strerror(errno));
    }
    EXPERTILE_RETURN_IF_ERROR(Tell(watch, 0, 1));
    std::this_thread::sleep_for(kPause);
  }
  return lock;
}

}  // namespace expertile
