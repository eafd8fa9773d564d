#include "program/qaic/compile_folder.h"

#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"

namespace expertile::qaic {
namespace {

using nlohmann::json;

std::string DumpJson(const json& document) {
  return document.dump(4, ' ', true, json::error_handler_t::replace) + "\n";
}

// A passed option as the record has it: a file counts by its content.
Result<json> OptionRecord(const PassedOption& option) {
  json record = {{"name", option.name}};
  if (!option.names_file) {
    record["value"] = option.value ? json(*option.value) : json(true);
    return record;
  }
  EXPERTILE_ASSIGN(const MappedFile file, MappedFile::Open(option.value.value_or("")));
  record["sha256"] = Sha256Hex(file.bytes());
  return record;
}

Result<json> FlagsRecord(const CompilerFlags& flags) {
  json passed = json::array();
  for (const PassedOption& option : flags.passed) {
    EXPERTILE_ASSIGN(json record, OptionRecord(option));
    passed.push_back(std::move(record));
  }
  return json{{"hw_version", flags.hw_version},
              {"num_cores", flags.num_cores},
              {"retained_state", flags.retained_state},
              {"convert_to_fp16", flags.convert_to_fp16},
              {"mxfp6_matmul", flags.mxfp6_matmul},
              {"sub_functions", flags.sub_functions},
              {"passed", std::move(passed)}};
}

Status WriteWhole(const std::filesystem::path& path, std::string_view text) {
  EXPERTILE_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  EXPERTILE_RETURN_IF_ERROR(file.Append(text));
  return file.Commit();
}

}  // namespace

bool CompileFolder::has_program() const {
  std::error_code error;
  const auto size = std::filesystem::file_size(program() / kProgramBinary, error);
  return !error && size > 0;
}

Result<std::string> CompileRecord(const QaicCompile& compile) {
  EXPERTILE_RETURN_IF_ERROR(CheckFlags(compile.flags));
  if (compile.graph_fingerprint.empty()) {
    return InvalidArgument("{}: no fingerprint of the graph", compile.onnx.string());
  }
  if (compile.specializations.empty()) {
    return InvalidArgument("{}: no specialization", compile.onnx.string());
  }
  EXPERTILE_ASSIGN(json flags, FlagsRecord(compile.flags));
  json record = {{"graph", compile.graph_fingerprint},
                 {"flags", std::move(flags)},
                 {"specializations", SpecializationsJson(compile.specializations)},
                 {"custom_io", compile.custom_io_yaml}};
  if (compile.partition) {
    record["partition"] = {{"file", compile.partition->file_name},
                           {"json", compile.partition->json}};
  }
  if (!compile.options.empty()) record["options"] = json::parse(compile.options);
  return DumpJson(record);
}

std::string CompileFingerprint(const std::string& record) {
  return Sha256Hex(std::as_bytes(std::span(record))).substr(0, 16);
}

std::vector<std::string> CommandFor(const QaicCompile& compile, const CompileFolder& folder,
                                    const std::filesystem::path& compiler,
                                    const std::filesystem::path& program) {
  CompilerFiles files;
  files.onnx = compile.onnx;
  files.specializations = folder.specializations();
  if (!compile.custom_io_yaml.empty()) files.custom_io = folder.custom_io();
  if (compile.partition) {
    files.partition = folder.path / compile.partition->file_name;
    files.partition_kind = compile.partition->kind;
  }
  files.program = program;
  return CompilerArguments(compiler, compile.flags, files);
}

Result<CompileFolder> FolderFor(const QaicCompile& compile, const std::filesystem::path& parent) {
  EXPERTILE_ASSIGN(const std::string record, CompileRecord(compile));
  return CompileFolder{parent / ("qpc-" + CompileFingerprint(record))};
}

Status WriteCompileFiles(const QaicCompile& compile, const CompileFolder& folder) {
  EXPERTILE_ASSIGN(const std::string record, CompileRecord(compile));
  std::error_code error;
  std::filesystem::create_directories(folder.path, error);
  if (error) return IoError("{}: cannot create: {}", folder.path.string(), error.message());

  EXPERTILE_RETURN_IF_ERROR(
      WriteWhole(folder.specializations(), SpecializationsJson(compile.specializations)));
  if (!compile.custom_io_yaml.empty()) {
    EXPERTILE_RETURN_IF_ERROR(WriteWhole(folder.custom_io(), compile.custom_io_yaml));
  }
  if (compile.partition) {
    EXPERTILE_RETURN_IF_ERROR(
        WriteWhole(folder.path / compile.partition->file_name, compile.partition->json));
  }
  return WriteWhole(folder.record(), record);
}

}  // namespace expertile::qaic
