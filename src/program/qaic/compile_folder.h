// What one run of the Cloud AI 100 compiler depends on, its fingerprint, and the folder made of it.
// Not the run itself (qaic_compiler.h).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "expertile/result.h"
#include "program/qaic/compiler_command.h"
#include "program/qaic/partition.h"
#include "program/qaic/specializations.h"

namespace expertile::qaic {

struct QaicCompile {
  std::filesystem::path onnx;
  // Names the graph and its weights: the export's fingerprint. The path does not count, so that a
  // cache may be moved.
  std::string graph_fingerprint;
  CompilerFlags flags;
  // Options that are in none of the other fields, as a JSON object; empty for none.
  std::string options;
  std::vector<Specialization> specializations;
  std::string custom_io_yaml;  // empty: the compiler gets none
  std::optional<Partition> partition;
};

// The folder's contents, without the compiled program:
//   specializations.json, custom_io.yaml, mdp_….json, hashed_compile_params.json
//   qpc/programqpc.bin once it is compiled
struct CompileFolder {
  std::filesystem::path path;  // <parent>/qpc-<fingerprint>

  std::filesystem::path specializations() const { return path / "specializations.json"; }
  std::filesystem::path custom_io() const { return path / "custom_io.yaml"; }
  std::filesystem::path record() const { return path / "hashed_compile_params.json"; }
  std::filesystem::path program() const { return path / "qpc"; }
  bool has_program() const;  // qpc/programqpc.bin exists and is not empty
};

// The file without which a program folder is no program.
inline constexpr const char* kProgramBinary = "programqpc.bin";

// All that decides the program, as JSON: the flags, the files' contents and the graph's
// fingerprint; of a file that a passed option names, its sha256. Made afresh each time.
// Errors: what CheckFlags refuses, no specialization, an empty graph_fingerprint, a file that a
// passed option names cannot be read.
Result<std::string> CompileRecord(const QaicCompile& compile);

// The first 16 digits of the sha256 of the record.
std::string CompileFingerprint(const std::string& record);

// The command that compiles into `program`, its files being in `folder`.
std::vector<std::string> CommandFor(const QaicCompile& compile, const CompileFolder& folder,
                                    const std::filesystem::path& compiler,
                                    const std::filesystem::path& program);

// <parent>/qpc-<fingerprint>, which need not exist. Errors: as of CompileRecord.
Result<CompileFolder> FolderFor(const QaicCompile& compile, const std::filesystem::path& parent);

// Makes the folder with every file of it, but for the program.
Status WriteCompileFiles(const QaicCompile& compile, const CompileFolder& folder);

}  // namespace expertile::qaic
