// Runs the compiler of the Cloud AI 100 SDK, or says what to run where there is none.
// Not a driver of cards: a QPC is loaded by the SDK's runtime.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "expertile/result.h"
#include "program/qaic/compile_folder.h"

namespace expertile::qaic {

// Where the SDK installs its compiler, and the variable that names another place.
inline constexpr const char* kDefaultQaicCompiler = "/opt/qti-aic/exec/qaic-compile";
inline constexpr const char* kQaicCompilerVariable = "EXPERTILE_QAIC_COMPILER";

// `configured` if it is not empty, else the variable's value, else the default; the default alone
// may be missing: none then. Errors: one that was named is no file that can be executed.
Result<std::optional<std::filesystem::path>> FindQaicCompiler(
    const std::filesystem::path& configured);

struct QaicProgram {
  enum class State : uint8_t {
    kCached,    // was there already
    kCompiled,  // by this call
    kToBeRun,   // no SDK here: `command` has still to be run
  };
  State state = State::kToBeRun;
  CompileFolder folder;
  // A line for a POSIX shell that makes folder.program() by hand, on success only.
  std::string command;
};

// Writes the compile's folder and makes the program in it, unless it is there.
// The compiler writes to a folder of its own, which is renamed to qpc/ when it exits 0 with a
// programqpc.bin; a compile that failed or was killed leaves no qpc/. Its output goes to
// compiler.stdout and compiler.stderr in the compile's folder, whole; an error names that file and
// holds its lines as one, of a long output the beginning. Of two compiles at once, the first to
// finish wins. Errors: what CompileRecord refuses, a compiler that does not start, fails, is killed
// or leaves no programqpc.bin, a file system that refuses.
Result<QaicProgram> CompileForQaic(QaicCompile compile, const std::filesystem::path& parent,
                                   const std::optional<std::filesystem::path>& compiler);

}  // namespace expertile::qaic
