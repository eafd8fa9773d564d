#include "program/package_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

tl::unexpected<Error> SystemError(std::string_view action, const fs::path& path) {
  return IoError("{}: cannot {}: {}", path.string(), action, std::strerror(errno));
}

Status WriteAll(int file, std::span<const std::byte> bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("write", path);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

// Makes `path` a second name of `existing`, or a copy where file systems do not allow that.
Status LinkOrCopy(const fs::path& existing, const fs::path& path) {
  if (::link(existing.c_str(), path.c_str()) == 0) return {};
  if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != EOPNOTSUPP) {
    return SystemError("link", path);
  }
  std::error_code failure;
  fs::copy_file(existing, path, failure);
  if (failure) return IoError("{}: cannot copy: {}", path.string(), failure.message());
  return {};
}

Status MakeFolders(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) return IoError("{}: cannot create: {}", folder.string(), failure.message());
  return {};
}

bool HasHash(const fs::path& path, const std::string& sha256) {
  const auto file = MappedFile::Open(path);
  return file && Sha256Hex(file->bytes()) == sha256;
}

constexpr const char* kOpenSection = "section";  // while it is written

}  // namespace

Result<PackageWriter> PackageWriter::Create(const fs::path& scratch, const fs::path& store) {
  EXPERTILE_RETURN_IF_ERROR(MakeFolders(store));
  PackageWriter writer(scratch, store);
  EXPERTILE_RETURN_IF_ERROR(MakeFolders(scratch / "sections"));
  EXPERTILE_RETURN_IF_ERROR(MakeFolders(scratch / "assets"));
  return writer;
}

PackageWriter::PackageWriter(PackageWriter&& other) noexcept
    : scratch_(std::exchange(other.scratch_, {})),
      store_(std::move(other.store_)),
      manifest_(std::move(other.manifest_)),
      piece_(std::move(other.piece_)),
      pending_(other.pending_),
      block_offset_(other.block_offset_),
      section_size_(other.section_size_),
      section_file_(std::exchange(other.section_file_, -1)),
      group_(std::move(other.group_)),
      hash_(std::move(other.hash_)) {}

PackageWriter::~PackageWriter() {
  if (section_file_ >= 0) ::close(section_file_);
  std::error_code ignored;
  if (!scratch_.empty()) fs::remove_all(scratch_, ignored);
}

Status PackageWriter::AddAsset(const std::string& name, std::span<const std::byte> bytes) {
  const fs::path path = scratch_ / "assets" / name;
  EXPERTILE_RETURN_IF_ERROR(MakeFolders(path.parent_path()));
  EXPERTILE_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  EXPERTILE_RETURN_IF_ERROR(file.Append(bytes));
  manifest_.assets.push_back({name, Sha256Hex(bytes), static_cast<int64_t>(bytes.size())});
  EXPERTILE_RETURN_IF_ERROR(file.Commit());
  return SyncToDisk(path.parent_path());
}

Status PackageWriter::BeginGroup(std::string_view group) {
  EXPERTILE_RETURN_IF_ERROR(EndGroup());
  const auto path = scratch_ / kOpenSection;
  section_file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (section_file_ < 0) return SystemError("create", path);
  group_ = group;
  section_size_ = 0;
  hash_ = Sha256();
  return {};
}

Status PackageWriter::Begin(const WeightBlock& block) {
  EXPERTILE_DCHECK(section_file_ >= 0);
  EXPERTILE_RETURN_IF_ERROR(EndBlock());
  static constexpr std::byte kPadding[kBlockAlignment] = {};
  const int64_t past = section_size_ % kBlockAlignment;
  if (past != 0) {
    EXPERTILE_RETURN_IF_ERROR(Append({kPadding, static_cast<size_t>(kBlockAlignment - past)}));
  }
  manifest_.blocks.push_back(
      {block, static_cast<int64_t>(manifest_.sections.size()), section_size_});
  return {};
}

Result<std::span<std::byte>> PackageWriter::Piece(int64_t num_bytes) {
  EXPERTILE_RETURN_IF_ERROR(FlushPiece());
  pending_ = static_cast<size_t>(num_bytes);
  piece_.assign(pending_, std::byte{0});
  return std::span(piece_);
}

Status PackageWriter::FlushPiece() {
  const size_t size = std::exchange(pending_, 0);
  return Append({piece_.data(), size});
}

Status PackageWriter::Append(std::span<const std::byte> bytes) {
  hash_.Update(bytes);
  section_size_ += static_cast<int64_t>(bytes.size());
  return WriteAll(section_file_, bytes, scratch_ / kOpenSection);
}

Status PackageWriter::EndBlock() {
  EXPERTILE_RETURN_IF_ERROR(FlushPiece());
  if (!manifest_.blocks.empty()) {
    const PackageBlock& last = manifest_.blocks.back();
    const bool is_open = last.section == static_cast<int64_t>(manifest_.sections.size());
    EXPERTILE_DCHECK(!is_open || section_size_ - last.offset == last.block.num_bytes);
    static_cast<void>(is_open);
  }
  return {};
}

// The finished section under its hash: the store's file if it has one, else a new one of the
// store.
Status PackageWriter::EndGroup() {
  if (section_file_ < 0) return {};
  EXPERTILE_RETURN_IF_ERROR(EndBlock());
  const auto written = scratch_ / kOpenSection;
  const std::string sha256 = hash_.Hex();
  const auto section = scratch_ / "sections" / (sha256 + ".bin");
  const auto stored = store_ / (sha256 + ".bin");
  const bool is_synced = ::fchmod(section_file_, 0444) == 0 && ::fsync(section_file_) == 0;
  ::close(std::exchange(section_file_, -1));
  if (!is_synced) return SystemError("sync", written);
  manifest_.sections.push_back({group_, sha256, section_size_});
  std::error_code failure;
  if (fs::exists(section, failure)) {  // two groups of the same bytes
    fs::remove(written, failure);
    return {};
  }
  if (HasHash(stored, sha256) && LinkOrCopy(stored, section)) {
    fs::remove(written, failure);
    return {};
  }
  fs::remove(stored, failure);  // damaged, if it was there
  fs::rename(written, section, failure);
  if (failure) return IoError("{}: cannot rename: {}", section.string(), failure.message());
  // Another process may have been first, and a store may be on another file system: either is fine.
  static_cast<void>(::link(section.c_str(), stored.c_str()));
  return {};
}

Status PackageWriter::Finish(const ProgramOrigin& origin, const fs::path& folder) {
  EXPERTILE_RETURN_IF_ERROR(EndGroup());
  manifest_.origin = origin;
  EXPERTILE_ASSIGN(AtomicFile file, AtomicFile::Create(scratch_ / kManifestName));
  EXPERTILE_RETURN_IF_ERROR(file.Append(ManifestText(manifest_)));
  EXPERTILE_RETURN_IF_ERROR(file.Commit());
  EXPERTILE_RETURN_IF_ERROR(SyncToDisk(scratch_ / "sections"));
  EXPERTILE_RETURN_IF_ERROR(SyncToDisk(scratch_ / "assets"));
  EXPERTILE_RETURN_IF_ERROR(SyncToDisk(scratch_));
  if (::rename(scratch_.c_str(), folder.c_str()) != 0) return SystemError("rename to", folder);
  scratch_.clear();
  return SyncToDisk(folder.parent_path());
}

}  // namespace expertile
