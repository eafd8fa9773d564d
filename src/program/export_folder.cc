#include "program/export_folder.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "base/scratch_folder.h"
#include "program/manifest.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kScratchPrefix = ".export-";

// Null if there is none that can be read.
json ReadRecord(const fs::path& folder) {
  const auto text = ReadTextFile(folder / kExportRecord);
  if (!text) return nullptr;
  const json record = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const bool is_record = record.is_object() && record.contains("fingerprint") &&
                         record.contains("files") && record["files"].is_object();
  return is_record ? record : json(nullptr);
}

bool IsFilled(const fs::path& folder, const std::string& fingerprint) {
  const json record = ReadRecord(folder);
  if (record.is_null() || record["fingerprint"] != fingerprint) return false;
  for (const auto& [name, size] : record["files"].items()) {
    std::error_code failure;
    if (size != fs::file_size(folder / name, failure) || failure) return false;
  }
  return true;
}

// Names and sizes of the files in a folder, on disk for certain.
Result<json> SyncedFiles(const fs::path& folder) {
  json files = json::object();
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    EXPERTILE_RETURN_IF_ERROR(SyncToDisk(entry.path()));
    files[entry.path().filename().string()] = entry.file_size(failure);
    if (failure) break;
  }
  if (failure) return IoError("{}: cannot read: {}", folder.string(), failure.message());
  return files;
}

void RemoveLeftovers(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kScratchPrefix)) fs::remove_all(entry.path(), ignored);
  }
}

// The record goes first and comes last: a folder with a record is whole.
Status MoveIn(const fs::path& scratch, const fs::path& folder, const json& record) {
  std::error_code failure;
  const json earlier = ReadRecord(folder);
  fs::remove(folder / kExportRecord, failure);
  if (failure) return IoError("{}: cannot replace: {}", folder.string(), failure.message());
  if (!earlier.is_null()) {
    for (const auto& [name, size] : earlier["files"].items()) {
      if (fs::path(name).filename() == name) fs::remove(folder / name, failure);
    }
  }
  for (const auto& [name, size] : record["files"].items()) {
    fs::rename(scratch / name, folder / name, failure);
    if (failure)
      return IoError("{}: cannot write: {}", (folder / name).string(), failure.message());
  }
  EXPERTILE_RETURN_IF_ERROR(SyncToDisk(folder));
  EXPERTILE_ASSIGN(AtomicFile file, AtomicFile::Create(folder / kExportRecord));
  EXPERTILE_RETURN_IF_ERROR(file.Append(record.dump(2) + "\n"));
  return file.Commit();
}

Status Fill(const fs::path& folder, const json& origin, const std::string& fingerprint,
            const std::function<Status(const fs::path&)>& make) {
  EXPERTILE_ASSIGN(const ScratchFolder scratch, ScratchFolder::Create(folder, kScratchPrefix));
  EXPERTILE_RETURN_IF_ERROR(make(scratch.path()));
  EXPERTILE_ASSIGN(const json files, SyncedFiles(scratch.path()));
  return MoveIn(scratch.path(), folder,
                {{"fingerprint", fingerprint}, {"origin", origin}, {"files", files}});
}

}  // namespace

Result<bool> FillExportFolder(const fs::path& folder, const json& origin,
                              const std::function<Status(const fs::path&)>& make,
                              const Watch& watch) {
  const std::string fingerprint = FingerprintOf(origin);
  if (IsFilled(folder, fingerprint)) return true;
  std::error_code failure;
  const bool is_new = fs::create_directories(folder, failure);
  if (failure) return IoError("{}: cannot create: {}", folder.string(), failure.message());
  EXPERTILE_ASSIGN(const FileLock lock, FileLock::OnFolder(folder, watch));
  if (IsFilled(folder, fingerprint)) return true;
  RemoveLeftovers(folder);
  const Status filled = Fill(folder, origin, fingerprint, make);
  if (filled) return false;
  if (is_new) fs::remove(folder, failure);  // if it is empty
  return tl::unexpected(filled.error());
}

}  // namespace expertile
