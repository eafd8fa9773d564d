#include "program/qaic/qaic_compiler.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/scratch_folder.h"
#include "program/qaic/process.h"

namespace expertile::qaic {
namespace {

namespace fs = std::filesystem;

bool IsExecutable(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

// As it is, where the current folder is not known.
fs::path Absolute(const fs::path& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error);
  return error ? path : absolute;
}

// A file's lines that are not blank, as one; empty if there is none. Of a long file the beginning.
std::string AsOneLine(const fs::path& path) {
  constexpr size_t kMaxSize = 4000;
  const Result<MappedFile> file = MappedFile::Open(path);
  if (!file) return "";
  std::string line;
  bool at_start = true;  // of a line of the file
  for (const char c : file->text()) {
    if (line.size() > kMaxSize) return line + "...";
    if (c == '\n' || c == '\r') {
      at_start = true;
    } else if (!at_start || (c != ' ' && c != '\t')) {
      if (at_start && !line.empty()) line += " | ";
      line += c >= 0x20 && c < 0x7f ? c : '?';
      at_start = false;
    }
  }
  return line;
}

// What the compiler wrote stays in the compile's folder, whole.
Error CompilerError(const fs::path& compiler, const std::string& what,
                    const CompileFolder& folder) {
  for (const char* name : {"compiler.stderr", "compiler.stdout"}) {
    const fs::path output = folder.path / name;
    if (const std::string line = AsOneLine(output); !line.empty()) {
      return Error{ErrorCode::kIo, fmt::format("{}: {}: {} (all of it: {})", compiler.string(),
                                               what, line, output.string())};
    }
  }
  return Error{ErrorCode::kIo, fmt::format("{}: {}, with no output (in {})", compiler.string(),
                                           what, folder.path.string())};
}

// The user's line: the program gets its name only if the compiler succeeds.
std::string CommandByHand(const QaicCompile& compile, const CompileFolder& folder,
                          const fs::path& compiler) {
  const fs::path scratch = folder.path / "compile-by-hand";
  const fs::path program = scratch / "qpc";
  const std::vector<std::string> run = CommandFor(compile, folder, compiler, program);
  const std::vector<std::string> clear = {"rm", "-rf", scratch};
  const std::vector<std::string> make = {"mkdir", scratch};
  const std::vector<std::string> keep = {"mv", "-T", program, folder.program()};
  return fmt::format("{} && {} && {} && {}", ShellLine(clear), ShellLine(make), ShellLine(run),
                     ShellLine(keep));
}

// Gives the finished program its name. A qpc/ without a binary is cleared away; one with a binary
// was made by another process meanwhile, and stays.
Status Publish(const fs::path& program, const fs::path& scratch, const CompileFolder& folder) {
  std::error_code error;
  fs::rename(program, folder.program(), error);
  if (!error || folder.has_program()) return {};
  fs::rename(folder.program(), scratch / "incomplete", error);
  fs::rename(program, folder.program(), error);
  if (!error || folder.has_program()) return {};
  return IoError("{}: cannot rename to {}: {}", program.string(), folder.program().string(),
                 error.message());
}

void KeepOutput(const fs::path& scratch, const CompileFolder& folder) {
  std::error_code ignored;
  for (const char* name : {"compiler.stdout", "compiler.stderr"}) {
    fs::rename(scratch / name, folder.path / name, ignored);
  }
}

Status RunCompiler(const QaicCompile& compile, const CompileFolder& folder,
                   const fs::path& compiler) {
  EXPERTILE_ASSIGN(const ScratchFolder scratch, ScratchFolder::Create(folder.path, "compile-"));
  const fs::path program = scratch.path() / "qpc";
  const std::vector<std::string> command = CommandFor(compile, folder, compiler, program);
  EXPERTILE_ASSIGN(const ProcessEnd end, RunProcess(command, scratch.path() / "compiler.stdout",
                                                    scratch.path() / "compiler.stderr"));
  KeepOutput(scratch.path(), folder);
  if (!end.succeeded()) return tl::unexpected(CompilerError(compiler, end.Text(), folder));
  std::error_code error;
  const auto size = fs::file_size(program / kProgramBinary, error);
  if (error || size == 0) {
    const std::string what = fmt::format("{} but no {}", end.Text(), kProgramBinary);
    return tl::unexpected(CompilerError(compiler, what, folder));
  }
  return Publish(program, scratch.path(), folder);
}

}  // namespace

Result<std::optional<fs::path>> FindQaicCompiler(const fs::path& configured) {
  const char* variable = std::getenv(kQaicCompilerVariable);
  const fs::path named = !configured.empty() ? configured : fs::path(variable ? variable : "");
  if (named.empty()) {
    if (!IsExecutable(kDefaultQaicCompiler)) return std::optional<fs::path>();
    return fs::path(kDefaultQaicCompiler);
  }
  if (IsExecutable(named)) return Absolute(named);
  return NotFound("{}: {}, which is no program to run",
                  configured.empty() ? kQaicCompilerVariable : "qaic_compiler", named.string());
}

Result<QaicProgram> CompileForQaic(QaicCompile compile, const fs::path& parent,
                                   const std::optional<fs::path>& compiler) {
  std::error_code error;
  if (!fs::is_regular_file(compile.onnx, error)) {
    return NotFound("{}: no such ONNX file", compile.onnx.string());
  }
  compile.onnx = Absolute(compile.onnx);
  EXPERTILE_ASSIGN(const CompileFolder folder, FolderFor(compile, Absolute(parent)));
  QaicProgram program{QaicProgram::State::kCached, folder,
                      CommandByHand(compile, folder, compiler.value_or(kDefaultQaicCompiler))};
  if (folder.has_program()) return program;
  EXPERTILE_RETURN_IF_ERROR(WriteCompileFiles(compile, folder));
  if (compiler) EXPERTILE_RETURN_IF_ERROR(RunCompiler(compile, folder, *compiler));
  program.state = compiler ? QaicProgram::State::kCompiled : QaicProgram::State::kToBeRun;
  return program;
}

}  // namespace expertile::qaic
