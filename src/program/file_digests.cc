#include "program/file_digests.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"

namespace expertile {
namespace {

constexpr size_t kChunkBytes = size_t{16} << 20;
constexpr size_t kHexDigits = 64;

std::string Sha256OfText(const std::string& text) {
  return Sha256Hex(std::as_bytes(std::span(text)));
}

struct FileState {
  std::string key;  // differs when the file may have changed
  int64_t num_bytes = 0;
};

Result<FileState> StateOf(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return IoError("{}: cannot stat: {}", path.string(), std::strerror(errno));
  }
  return FileState{fmt::format("{} {} {} {}.{:09} {}.{:09}", info.st_dev, info.st_ino, info.st_size,
                               info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec,
                               info.st_ctim.tv_nsec),
                   info.st_size};
}

// Hashes a file in chunks, each given back to the system before the next.
Result<std::string> HashFile(const std::filesystem::path& path, int64_t done, int64_t total,
                             const Watch& watch) {
  EXPERTILE_ASSIGN(const MappedFile file, MappedFile::Open(path));
  Sha256 hash;
  const std::span<const std::byte> bytes = file.bytes();
  for (size_t first = 0; first < bytes.size(); first += kChunkBytes) {
    hash.Update(bytes.subspan(first, std::min(kChunkBytes, bytes.size() - first)));
    file.ReleasePages();
    EXPERTILE_RETURN_IF_ERROR(Tell(watch, done + static_cast<int64_t>(first), total));
  }
  return hash.Hex();
}

// Remembering is a convenience: what cannot be written is computed again.
void Remember(const std::filesystem::path& path, const std::string& digest) {
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  auto file = AtomicFile::Create(path);
  if (file && file->Append(digest)) static_cast<void>(file->Commit());
}

}  // namespace

Result<std::string> FileDigests::DigestOf(const std::vector<std::filesystem::path>& files,
                                          const Watch& watch) const {
  std::vector<FileState> states;
  int64_t total = 0;
  for (const auto& path : files) {
    EXPERTILE_ASSIGN(FileState state, StateOf(path));
    total += state.num_bytes;
    states.push_back(std::move(state));
  }
  std::vector<std::string> digests;
  int64_t done = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    const auto remembered = folder_ / Sha256OfText(states[i].key);
    auto digest = ReadTextFile(remembered);
    if (!digest || digest->size() != kHexDigits) {
      EXPERTILE_ASSIGN(digest, HashFile(files[i], done, total, watch));
      Remember(remembered, *digest);
    }
    digests.push_back(*std::move(digest));
    done += states[i].num_bytes;
  }
  std::ranges::sort(digests);
  std::string list;
  for (const std::string& digest : digests) list += digest + "\n";
  return Sha256OfText(list);
}

}  // namespace expertile
