#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "expertile/git_lfs_pointer.h"

namespace expertile {
namespace {

Error SystemError(std::string_view action, const std::filesystem::path& path) {
  const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return Error{code, fmt::format("{}: cannot {}: {}", path.string(), action, std::strerror(errno))};
}

// Closes the descriptor at the end of the scope.
class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

Result<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return tl::unexpected(SystemError("open", path));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return tl::unexpected(SystemError("stat", path));
  if (!S_ISREG(info.st_mode)) return IoError("{}: not a regular file", path.string());
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) return MappedFile(std::span<const std::byte>());
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) return tl::unexpected(SystemError("map", path));
  MappedFile mapped(std::span(static_cast<const std::byte*>(address), size));
  if (auto pointer = GitLfsPointerError(mapped.text(), path.string())) {
    return tl::unexpected(*std::move(pointer));
  }
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::ReleasePages() const {
  if (bytes_.empty()) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

Result<std::string> ReadTextFile(const std::filesystem::path& path) {
  EXPERTILE_ASSIGN(const MappedFile file, MappedFile::Open(path));
  return std::string(file.text());
}

Status SyncToDisk(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return tl::unexpected(SystemError("open", path));
  if (::fsync(file.get()) != 0) return tl::unexpected(SystemError("sync", path));
  return {};
}

AtomicFile::AtomicFile(std::filesystem::path path, std::filesystem::path temporary, int descriptor)
    : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

Result<AtomicFile> AtomicFile::Create(const std::filesystem::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) {
    return IoError("{}: exists and is not a regular file", path.string());
  }
  std::string name = path.string() + ".XXXXXX";
  const int descriptor = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor < 0) return tl::unexpected(SystemError("create a file beside", path));
  ::fchmod(descriptor, 0644);
  return AtomicFile(path, name, descriptor);
}

Status AtomicFile::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return tl::unexpected(SystemError("write", path_));
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

Status AtomicFile::Commit() {
  if (::fsync(descriptor_) != 0) return tl::unexpected(SystemError("sync", path_));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return tl::unexpected(SystemError("rename to", path_));
  }
  ::close(std::exchange(descriptor_, -1));
  return {};
}

}  // namespace expertile
