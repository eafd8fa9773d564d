// Reading files by memory map, and writing them whole or not at all.
// Not a parser: bytes come out as they lie on disk.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "expertile/result.h"

namespace expertile {

// A read-only memory map of a whole file; pages are read when they are touched. Movable, not
// copyable.
class MappedFile {
 public:
  // Refuses a Git LFS pointer, which is never the file that was meant.
  static Result<MappedFile> Open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  // Gives the pages that were read back to the system; they are read again when touched.
  void ReleasePages() const;
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

// Reads a whole (small) file: configurations, templates, prompts.
Result<std::string> ReadTextFile(const std::filesystem::path& path);

// What a file holds, or a folder lists, is on disk only after this.
Status SyncToDisk(const std::filesystem::path& path);

// A file that appears under its name only when Commit() succeeds: written under a temporary name
// beside it, fsync'ed, renamed. Destroying it uncommitted removes the temporary file.
class AtomicFile {
 public:
  static Result<AtomicFile> Create(const std::filesystem::path& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  Status Append(std::span<const std::byte> bytes);
  Status Append(std::string_view text) { return Append(std::as_bytes(std::span(text))); }
  Status Commit();

 private:
  AtomicFile(std::filesystem::path path, std::filesystem::path temporary, int descriptor);
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

}  // namespace expertile
