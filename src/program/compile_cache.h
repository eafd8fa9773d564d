// CompileCache: finds a program by its fingerprint, or has it made once, whoever asks and whatever
// is killed. Not how a program is made: the caller's function writes it.
//
//   ROOT/store/<sha256>.bin         sections, each also linked into the programs that use it
//   ROOT/digests/                   hashes of checkpoint files (program/file_digests.h)
//   ROOT/exports/<name>/            graphs (program/export_folder.h)
//   ROOT/programs/<name>/           packages (program/package.h), unless the caller names another
//                                   folder for them
//   …/programs/.<name>.lock         held while the program is made
//   …/programs/.<name>.<pid>        where it is made; moved to its name when it is whole
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/watch.h"
#include "expertile/result.h"
#include "program/package_writer.h"

namespace expertile {

// What the cache calls the folder of a fingerprint: <model_type>-<its first 16 digits>.
std::string FolderNameOf(const std::string& model_type, const std::string& fingerprint);

struct CachedProgram {
  std::filesystem::path folder;
  bool was_found = false;  // not made by this call
};

class CompileCache {
 public:
  // `root` is $EXPERTILE_HOME, else $XDG_CACHE_HOME/expertile, else ~/.cache/expertile, unless it
  // is given. Errors: none of these variables is set.
  static Result<CompileCache> At(const std::string& root);

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path exports_folder() const { return root_ / "exports"; }
  std::filesystem::path digests_folder() const { return root_ / "digests"; }

  // The program of `origin` in `folder` (empty: ROOT/programs), under the name
  // <model_type>-<first 16 digits of the fingerprint>. If it is not there, or is damaged so that it
  // does not open, `make` writes its weights and assets. Waits for another process that makes it,
  // unless `watch` ends that.
  Result<CachedProgram> FindOrMake(const ProgramOrigin& origin, const std::filesystem::path& folder,
                                   const std::function<Status(PackageWriter&)>& make,
                                   const Watch& watch) const;

 private:
  explicit CompileCache(std::filesystem::path root) : root_(std::move(root)) {}
  Status Make(const ProgramOrigin& origin, const std::filesystem::path& program,
              const std::function<Status(PackageWriter&)>& make) const;
  void RemoveUnusedSections() const;

  std::filesystem::path root_;
};

}  // namespace expertile
