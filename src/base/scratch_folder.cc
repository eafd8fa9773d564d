#include "base/scratch_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace expertile {

Result<ScratchFolder> ScratchFolder::Create(const std::filesystem::path& parent,
                                            std::string_view prefix) {
  std::string name = parent / (std::string(prefix) + "XXXXXX");
  if (::mkdtemp(name.data()) == nullptr) {
    return IoError("{}: cannot create a folder in it: {}", parent.string(), std::strerror(errno));
  }
  return ScratchFolder(name);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace expertile
