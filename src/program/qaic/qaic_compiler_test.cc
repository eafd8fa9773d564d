#include "program/qaic/qaic_compiler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "program/qaic/recorder.h"

namespace expertile::qaic {
namespace {

namespace fs = std::filesystem;
using State = QaicProgram::State;

class QaicCompilerTest : public RecorderTest {
 protected:
  QaicCompilerTest() { ::unsetenv(kQaicCompilerVariable); }
  ~QaicCompilerTest() override {
    ::unsetenv(kQaicCompilerVariable);
    ::unsetenv("RECORDER_RIVAL");
  }

  static std::set<std::string> FilesIn(const fs::path& path) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(path)) names.insert(entry.path().filename());
    return names;
  }
  CompileFolder FolderOf(const QaicCompile& compile) const {
    return FolderFor(compile, folder_.path()).value();
  }
  // A failed compile left its files and its output, no program, no folder of its own, and the next
  // run starts over.
  void ExpectNothingToMistake(const QaicCompile& compile) {
    const CompileFolder folder = FolderOf(compile);
    EXPECT_FALSE(folder.has_program());
    EXPECT_EQ(FilesIn(folder.path),
              (std::set<std::string>{"specializations.json", "hashed_compile_params.json",
                                     "compiler.stdout", "compiler.stderr"}));
    Behave("compile");
    EXPECT_EQ(Run(compile).value().state, State::kCompiled);
    EXPECT_EQ(Read(folder.program() / kProgramBinary), "compiled\n");
  }
};

TEST_F(QaicCompilerTest, CompilesOnceThenFindsTheProgram) {
  QaicCompile compile = SmallCompile();
  compile.custom_io_yaml = " - IOName: a\n   Precision: mxint8\n\n";
  compile.partition = TensorSlicing(2, 16).value();
  const QaicProgram program = Run(compile).value();
  EXPECT_EQ(program.state, State::kCompiled);
  EXPECT_EQ(FilesIn(program.folder.path),
            (std::set<std::string>{"specializations.json", "custom_io.yaml", "mdp_ts_2.json",
                                   "hashed_compile_params.json", "qpc", "compiler.stdout",
                                   "compiler.stderr"}));
  EXPECT_EQ(Read(program.folder.path / "mdp_ts_2.json"), compile.partition->json);
  EXPECT_EQ(Read(program.folder.custom_io()), compile.custom_io_yaml);
  EXPECT_EQ(Read(program.folder.specializations()), SpecializationsJson(compile.specializations));

  fs::remove(folder_ / "arguments");
  fs::remove(program.folder.record());
  const QaicProgram again = Run(compile).value();
  EXPECT_EQ(again.state, State::kCached);
  EXPECT_EQ(again.folder.path, program.folder.path);
  EXPECT_FALSE(Ran());
  EXPECT_FALSE(fs::exists(program.folder.record()));  // a cache that is there is only read
}

TEST_F(QaicCompilerTest, AFailureIsReportedWhole) {
  Behave("refuse");
  const Error error = Run(SmallCompile()).error();
  const CompileFolder folder = FolderOf(SmallCompile());
  const std::string log = folder.path / "compiler.stderr";
  EXPECT_EQ(error.message, recorder_.string() +
                               ": exit status 3: Unhandled ElemKind in Clip operation | node "
                               "/model/layers.0/mlp/Clip (all of it: " +
                               log + ")");
  EXPECT_EQ(Read(log), "\nUnhandled ElemKind in Clip operation\n  node /model/layers.0/mlp/Clip\n");
  EXPECT_EQ(Read(folder.path / "compiler.stdout"), "reading the graph\n");
  ExpectNothingToMistake(SmallCompile());
}

TEST_F(QaicCompilerTest, AFailureThatSpeaksOnStdout) {
  Behave("refuse-on-stdout");
  const std::string message = Run(SmallCompile()).error().message;
  EXPECT_NE(message.find("exit status 1: no space for the program"), std::string::npos) << message;
  EXPECT_NE(message.find("/compiler.stdout)"), std::string::npos) << message;
  ExpectNothingToMistake(SmallCompile());
}

TEST_F(QaicCompilerTest, AKilledCompilerLeavesNothing) {
  Behave("die");
  const std::string message = Run(SmallCompile()).error().message;
  EXPECT_NE(message.find("killed by signal 9 (Killed), with no output"), std::string::npos)
      << message;
  ExpectNothingToMistake(SmallCompile());
}

TEST_F(QaicCompilerTest, SuccessWithoutABinaryIsFailure) {
  for (const char* behaviour : {"make-nothing", "make-empty"}) {
    Behave(behaviour);
    const std::string message = Run(SmallCompile()).error().message;
    EXPECT_NE(message.find("exit status 0 but no programqpc.bin"), std::string::npos) << message;
  }
  ExpectNothingToMistake(SmallCompile());
}

TEST_F(QaicCompilerTest, AProgramFolderWithoutABinaryIsReplaced) {
  const CompileFolder folder = FolderOf(SmallCompile());
  fs::create_directories(folder.program());
  Write(folder.program() / "constants.bin", "left by a compile by hand");
  EXPECT_EQ(Run(SmallCompile()).value().state, State::kCompiled);
  EXPECT_EQ(FilesIn(folder.program()), std::set<std::string>{kProgramBinary});
}

TEST_F(QaicCompilerTest, OfTwoCompilesTheFirstToFinishStays) {
  const CompileFolder folder = FolderOf(SmallCompile());
  ::setenv("RECORDER_RIVAL", folder.program().c_str(), 1);
  Behave("lose-the-race");
  EXPECT_TRUE(Run(SmallCompile()));
  EXPECT_EQ(Read(folder.program() / kProgramBinary), "rival\n");
}

TEST_F(QaicCompilerTest, WithoutAnSdkItSaysWhatToRun) {
  const TemporaryFolder parent;
  const QaicProgram program = CompileForQaic(SmallCompile(), parent.path(), std::nullopt).value();
  EXPECT_EQ(program.state, State::kToBeRun);
  EXPECT_FALSE(program.folder.has_program());
  EXPECT_TRUE(fs::exists(program.folder.specializations()));
  const std::string dir = program.folder.path;
  const std::string by_hand = dir + "/compile-by-hand";
  const std::string compiler =
      std::string(kDefaultQaicCompiler) +
      " -aic-hw -aic-hw-version=ai100 -m=" + (folder_ / "model.onnx").string() +
      " -retained-state -convert-to-fp16 -aic-num-cores=16" +
      " -network-specialization-config=" + dir + "/specializations.json" +
      " -aic-binary-dir=" + by_hand + "/qpc";
  EXPECT_EQ(program.command, "rm -rf " + by_hand + " && mkdir " + by_hand + " && " + compiler +
                                 " && mv -T " + by_hand + "/qpc " + dir + "/qpc");
}

TEST_F(QaicCompilerTest, TheLineToRunMakesTheProgramOrNothing) {
  const QaicCompile compile = SmallCompile();
  const CompileFolder folder = FolderOf(compile);
  Behave("die");
  const Result<QaicProgram> failed = Run(compile);
  ASSERT_FALSE(failed);
  const QaicProgram to_run = CompileForQaic(compile, folder_.path(), std::nullopt).value();
  std::string line = to_run.command;
  line.replace(line.find(kDefaultQaicCompiler), std::string(kDefaultQaicCompiler).size(),
               recorder_);
  for (const char* behaviour : {"die", "refuse", "make-nothing"}) {
    Behave(behaviour);
    EXPECT_NE(std::system(("( " + line + " ) 2>/dev/null >/dev/null").c_str()), 0) << behaviour;
    EXPECT_FALSE(folder.has_program()) << behaviour;
  }
  Behave("compile");
  EXPECT_EQ(std::system(line.c_str()), 0);
  EXPECT_EQ(Run(compile).value().state, State::kCached);
}

TEST_F(QaicCompilerTest, FindsTheCompilerThatIsNamed) {
  EXPECT_EQ(FindQaicCompiler(recorder_).value(), recorder_);
  ::setenv(kQaicCompilerVariable, recorder_.c_str(), 1);
  EXPECT_EQ(FindQaicCompiler("").value(), recorder_);
  EXPECT_EQ(FindQaicCompiler("/no/such/compiler").error().message,
            "qaic_compiler: /no/such/compiler, which is no program to run");
  const std::string not_executable = folder_ / "model.onnx";
  ::setenv(kQaicCompilerVariable, not_executable.c_str(), 1);
  EXPECT_EQ(FindQaicCompiler("").error().message,
            "EXPERTILE_QAIC_COMPILER: " + not_executable + ", which is no program to run");
}

TEST_F(QaicCompilerTest, ACompilerThatDoesNotStartIsAnError) {
  const auto program =
      CompileForQaic(SmallCompile(), folder_.path(), fs::path("/no/such/compiler"));
  EXPECT_EQ(program.error().message,
            "/no/such/compiler: cannot be started: No such file or directory");
}

TEST_F(QaicCompilerTest, RefusesACompileOfNothing) {
  QaicCompile compile = SmallCompile();
  compile.onnx = folder_ / "missing.onnx";
  EXPECT_EQ(Run(compile).error().message, compile.onnx.string() + ": no such ONNX file");
  compile = SmallCompile();
  compile.graph_fingerprint = "";
  EXPECT_EQ(Run(compile).error().message, compile.onnx.string() + ": no fingerprint of the graph");
  compile = SmallCompile();
  compile.specializations = {};
  EXPECT_EQ(Run(compile).error().message, compile.onnx.string() + ": no specialization");
  compile = SmallCompile();
  compile.flags.passed = {{"node-precision-info", folder_ / "missing.yaml", true}};
  EXPECT_EQ(Run(compile).error().message,
            (folder_ / "missing.yaml").string() + ": cannot open: No such file or directory");
  EXPECT_FALSE(Ran());
}

TEST_F(QaicCompilerTest, TheFingerprintIsThatOfTheRecordInTheFolder) {
  const CompileFolder folder = Run(SmallCompile()).value().folder;
  EXPECT_EQ(folder.path.filename(), "qpc-" + CompileFingerprint(Read(folder.record())));
}

TEST_F(QaicCompilerTest, EveryOptionHasItsOwnFolder) {
  const std::vector<std::function<void(QaicCompile&)>> changes = {
      [](QaicCompile&) {},
      [](QaicCompile& c) { c.graph_fingerprint = "other"; },
      [](QaicCompile& c) { c.flags.hw_version = "ai200"; },
      [](QaicCompile& c) { c.flags.num_cores = 14; },
      [](QaicCompile& c) { c.flags.retained_state = false; },
      [](QaicCompile& c) { c.flags.convert_to_fp16 = false; },
      [](QaicCompile& c) { c.flags.mxfp6_matmul = true; },
      [](QaicCompile& c) { c.flags.sub_functions = true; },
      [](QaicCompile& c) {
        c.flags.passed = {{"mos", "1"}};
      },
      [](QaicCompile& c) {
        c.flags.passed = {{"mos", "2"}};
      },
      [](QaicCompile& c) {
        c.flags.passed = {{"mos", std::nullopt}};
      },
      [](QaicCompile& c) { c.specializations[0].symbols["ctx_len"] = 128; },
      [](QaicCompile& c) { c.specializations[0].name = "Prefill"; },
      [](QaicCompile& c) { c.custom_io_yaml = "x"; },
      [](QaicCompile& c) { c.options = R"({"an_option":1})"; },
      [](QaicCompile& c) { c.options = R"({"an_option":2})"; },
      [](QaicCompile& c) { c.partition = TensorSlicing(2, 16).value(); },
      [](QaicCompile& c) { c.partition = TensorSlicing(4, 16).value(); }};
  std::set<std::string> folders;
  for (const auto& change : changes) {
    QaicCompile compile = SmallCompile();
    change(compile);
    folders.insert(FolderOf(compile).path);
  }
  EXPECT_EQ(folders.size(), changes.size());
}

TEST_F(QaicCompilerTest, PathsDoNotCountButWhatTheyHoldDoes) {
  QaicCompile compile = SmallCompile();
  Write(folder_ / "a.yaml", "FP32NodeInstanceNames: []");
  Write(folder_ / "b.yaml", "FP32NodeInstanceNames: []");
  compile.flags.passed = {{"node-precision-info", folder_ / "a.yaml", true}};
  const CompileFolder first = FolderOf(compile);
  compile.onnx = "/elsewhere/model.onnx";
  compile.flags.passed[0].value = folder_ / "b.yaml";
  EXPECT_EQ(FolderOf(compile).path, first.path);
  EXPECT_EQ(CompileRecord(compile).value().find(folder_.path().string()), std::string::npos);
  Write(folder_ / "b.yaml", "FP32NodeInstanceNames: [x]");
  EXPECT_NE(FolderOf(compile).path, first.path);
}

}  // namespace
}  // namespace expertile::qaic
