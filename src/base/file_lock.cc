#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace expertile {

Result<FileLock> FileLock::OnFile(const std::filesystem::path& file) {
  return Acquire(file, O_RDWR | O_CREAT);
}

Result<FileLock> FileLock::OnFolder(const std::filesystem::path& folder) {
  return Acquire(folder, O_RDONLY | O_DIRECTORY);
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<FileLock> FileLock::Acquire(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (descriptor < 0) return IoError("{}: cannot open: {}", path.string(), std::strerror(errno));
  FileLock lock(descriptor);
  while (::flock(descriptor, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    return IoError("{}: cannot lock: {}", path.string(), std::strerror(errno));
  }
  return lock;
}

}  // namespace expertile
