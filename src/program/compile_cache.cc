#include "program/compile_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "base/file_lock.h"
#include "program/package.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

std::string NameOf(const ProgramOrigin& origin) {
  return FolderNameOf(origin.model_type, origin.fingerprint);
}

// Whether a whole package of this very fingerprint is there.
bool IsThere(const fs::path& program, const ProgramOrigin& origin) {
  const auto package = Package::Open(program);
  return package && package->manifest().origin.fingerprint == origin.fingerprint;
}

// What a process that died while it held the lock of `name` left behind.
void RemoveLeftovers(const fs::path& folder, const std::string& name) {
  const std::string prefix = "." + name + ".";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string file = entry.path().filename();
    if (file.starts_with(prefix) && file != prefix + "lock") fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

std::string FolderNameOf(const std::string& model_type, const std::string& fingerprint) {
  return model_type + "-" + fingerprint.substr(0, 16);
}

Result<CompileCache> CompileCache::At(const std::string& root) {
  if (!root.empty()) return CompileCache(root);
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? std::string(value) : std::string();
  };
  if (const auto home = variable("EXPERTILE_HOME"); !home.empty()) return CompileCache(home);
  if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) {
    return CompileCache(fs::path(cache) / "expertile");
  }
  if (const auto home = variable("HOME"); !home.empty()) {
    return CompileCache(fs::path(home) / ".cache" / "expertile");
  }
  return InvalidArgument(
      "cache_dir: not given, and EXPERTILE_HOME, XDG_CACHE_HOME and HOME are not set");
}

Result<CachedProgram> CompileCache::FindOrMake(const ProgramOrigin& origin, const fs::path& folder,
                                               const std::function<Status(PackageWriter&)>& make,
                                               const Watch& watch) const {
  const fs::path parent = folder.empty() ? root_ / "programs" : folder;
  const fs::path program = parent / NameOf(origin);
  if (IsThere(program, origin)) return CachedProgram{program, true};
  std::error_code failure;
  fs::create_directories(parent, failure);
  if (failure) return IoError("{}: cannot create: {}", parent.string(), failure.message());
  EXPERTILE_ASSIGN(const FileLock lock,
                   FileLock::OnFile(parent / ("." + NameOf(origin) + ".lock"), watch));
  if (IsThere(program, origin)) return CachedProgram{program, true};
  RemoveLeftovers(parent, NameOf(origin));
  EXPERTILE_RETURN_IF_ERROR(Make(origin, program, make));
  RemoveUnusedSections();
  return CachedProgram{program, false};
}

// A damaged program that stands in the way is moved aside first, and goes with the leftovers if
// this process is killed.
Status CompileCache::Make(const ProgramOrigin& origin, const fs::path& program,
                          const std::function<Status(PackageWriter&)>& make) const {
  const std::string hidden = "." + program.filename().string() + ".";
  const fs::path scratch = program.parent_path() / (hidden + std::to_string(::getpid()));
  EXPERTILE_ASSIGN(PackageWriter writer, PackageWriter::Create(scratch, root_ / "store"));
  EXPERTILE_RETURN_IF_ERROR(make(writer));
  std::error_code failure;
  const fs::path damaged = program.parent_path() / (hidden + "damaged");
  if (fs::exists(program, failure)) {
    fs::rename(program, damaged, failure);
    if (failure) return IoError("{}: cannot move aside: {}", program.string(), failure.message());
  }
  EXPERTILE_RETURN_IF_ERROR(writer.Finish(origin, program));
  fs::remove_all(damaged, failure);
  return {};
}

// A section that no program links any more. A process that links one at this moment keeps it: what
// goes is this name of it.
void CompileCache::RemoveUnusedSections() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root_ / "store", ignored)) {
    struct stat info {};
    if (::lstat(entry.path().c_str(), &info) == 0 && info.st_nlink == 1) {
      fs::remove(entry.path(), ignored);
    }
  }
}

}  // namespace expertile
