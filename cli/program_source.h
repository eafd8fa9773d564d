// ProgramSource: the MODEL of a command that runs a program: a checkpoint, compiled in memory, or a
// program's folder. Not for commands that only look at files (inspect, tokenize).
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "expertile/model.h"

namespace expertile::cli {

struct ProgramSource {
  std::string path;
  bool verify = false;
  CompileOptions options;
  const CLI::App* command = nullptr;  // whose flags they are
};

// Declares MODEL, --verify and the compile options on `app`.
void AddProgramSource(CLI::App& app, ProgramSource& source);

// Compiles the checkpoint, with a line of progress, or opens the program. Errors: a compile option
// given beside a program, which has its own.
Result<Program> OpenProgram(const ProgramSource& source);

// Where the tokenizer's files of a checkpoint or a program are.
std::string ModelFolderOf(const std::string& path);

}  // namespace expertile::cli
