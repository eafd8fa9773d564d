// Runs another program and waits for it. Not a shell: arguments arrive as they are.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "expertile/result.h"

namespace expertile::qaic {

struct ProcessEnd {
  int exit_status = 0;
  int signal = 0;  // not 0: what killed it

  bool succeeded() const { return exit_status == 0 && signal == 0; }
  std::string Text() const;  // "exit status 3", "killed by signal 9 (Killed)"
};

// Runs arguments[0], a path, with this process's environment, an empty stdin, and stdout and stderr
// in these two files, made anew. Errors: it does not start.
Result<ProcessEnd> RunProcess(std::span<const std::string> arguments,
                              const std::filesystem::path& stdout_file,
                              const std::filesystem::path& stderr_file);

}  // namespace expertile::qaic
