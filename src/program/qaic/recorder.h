// A graph and the script that stands in for the SDK's compiler, for the length of one test.
// Not for use outside tests.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/temporary_folder.h"
#include "program/qaic/qaic_compiler.h"

namespace expertile::qaic {

class RecorderTest : public testing::Test {
 protected:
  RecorderTest() {
    Write(folder_ / "model.onnx", "graph");
    Behave("compile");
    ::setenv("RECORDER_ARGUMENTS", (folder_ / "arguments").c_str(), 1);
  }
  ~RecorderTest() override {
    ::unsetenv("RECORDER_ARGUMENTS");
    ::unsetenv("RECORDER_BEHAVIOUR");
  }

  static void Behave(const char* behaviour) { ::setenv("RECORDER_BEHAVIOUR", behaviour, 1); }
  static void Write(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  static std::string Read(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  QaicCompile SmallCompile() const {
    QaicCompile compile;
    compile.onnx = folder_ / "model.onnx";
    compile.graph_fingerprint = "0123456789abcdef";
    compile.specializations = {{"Decode", {{"batch_size", 1}, {"seq_len", 1}, {"ctx_len", 64}}}};
    return compile;
  }
  Result<QaicProgram> Run(const QaicCompile& compile) const {
    return CompileForQaic(compile, folder_.path(), recorder_);
  }
  bool Ran() const { return std::filesystem::exists(folder_ / "arguments"); }

  // What the compiler was called with, the names of the test's folders taken out.
  std::vector<std::string> Recorded(const CompileFolder& compile_folder) const {
    std::vector<std::string> arguments;
    std::ifstream file(folder_ / "arguments");
    for (std::string line; std::getline(file, line);) {
      Replace(line, compile_folder.path.string(), "<dir>");
      Replace(line, folder_.path().string(), "<onnx>");
      const size_t scratch = line.find("/compile-");
      if (scratch != std::string::npos) line.erase(scratch, std::string("/compile-XXXXXX").size());
      arguments.push_back(line);
    }
    return arguments;
  }

  const TemporaryFolder folder_;
  const std::filesystem::path recorder_ = EXPERTILE_SOURCE_DIR "/tests/qaic/compiler_recorder.sh";

 private:
  static void Replace(std::string& line, const std::string& from, const std::string& to) {
    const size_t at = line.find(from);
    if (at != std::string::npos) line.replace(at, from.size(), to);
  }
};

}  // namespace expertile::qaic
