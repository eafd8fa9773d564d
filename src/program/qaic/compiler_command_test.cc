#include "program/qaic/compiler_command.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace expertile::qaic {
namespace {

using Arguments = std::vector<std::string>;

std::string Refusal(std::string_view option) {
  const auto parsed = ParsePassedOption(option);
  return parsed ? "accepted" : parsed.error().message;
}

TEST(CompilerCommand, EveryPartInItsPlace) {
  CompilerFlags flags;
  flags.hw_version = "ai200";
  flags.num_cores = 4;
  flags.mxfp6_matmul = true;
  flags.sub_functions = true;
  flags.passed = {{"mos", "1"}, {"user_tiled", std::nullopt}};
  CompilerFiles files{
      "/g/m.onnx", "/d/s.json", "/d/io.yaml", "/d/p.json", Partition::Kind::kTensorSlicing,
      "/d/qpc"};
  const Arguments slices = {"/sdk/c",
                            "-aic-hw",
                            "-aic-hw-version=ai200",
                            "-m=/g/m.onnx",
                            "-retained-state",
                            "-convert-to-fp16",
                            "-mxfp6-matmul",
                            "-aic-num-cores=4",
                            "-mos=1",
                            "-user-tiled",
                            "-sub-functions",
                            "-mdp-load-partition-config=/d/p.json",
                            "-network-specialization-config=/d/s.json",
                            "-custom-IO-list-file=/d/io.yaml",
                            "-aic-binary-dir=/d/qpc"};
  EXPECT_EQ(CompilerArguments("/sdk/c", flags, files), slices);
  for (const auto kind : {Partition::Kind::kPipeline, Partition::Kind::kGiven}) {
    files.partition_kind = kind;
    EXPECT_EQ(CompilerArguments("/sdk/c", flags, files)[4], "-mdp-load-partition-config=/d/p.json");
    EXPECT_EQ(CompilerArguments("/sdk/c", flags, files).size(), slices.size());
  }
}

TEST(CompilerCommand, WhatIsOffIsLeftOut) {
  CompilerFlags flags;
  flags.retained_state = false;
  flags.convert_to_fp16 = false;
  const CompilerFiles files{"m.onnx", "s.json", {}, {}, Partition::Kind::kPipeline, "qpc"};
  EXPECT_EQ(CompilerArguments("c", flags, files),
            (Arguments{"c", "-aic-hw", "-aic-hw-version=ai100", "-m=m.onnx", "-aic-num-cores=16",
                       "-network-specialization-config=s.json", "-aic-binary-dir=qpc"}));
}

TEST(CompilerCommand, PassedOptionsByName) {
  EXPECT_EQ(ParsePassedOption("mos=1").value(), (PassedOption{"mos", "1", false}));
  EXPECT_EQ(ParsePassedOption("user_tiled").value(),
            (PassedOption{"user-tiled", std::nullopt, false}));
  EXPECT_EQ(ParsePassedOption("a-b=c=d").value(), (PassedOption{"a-b", "c=d", false}));
  EXPECT_EQ(ParsePassedOption("node_precision_info=/n.yaml").value(),
            (PassedOption{"node-precision-info", "/n.yaml", true}));
  EXPECT_EQ(Refusal("=1"), "compiler option `=1`: expected NAME or NAME=VALUE");
  EXPECT_EQ(Refusal("-mos=1"), "compiler option `-mos=1`: expected NAME or NAME=VALUE");
  EXPECT_EQ(Refusal("m os"), "compiler option `m os`: expected NAME or NAME=VALUE");
  EXPECT_EQ(Refusal("node-precision-info"),
            "compiler option node-precision-info: expected the path of a file");
}

TEST(CompilerCommand, RefusesFlagsThatAreItsOwn) {
  CompilerFlags flags;
  EXPECT_TRUE(CheckFlags(flags));
  flags.passed = {{"aic_binary_dir", "/elsewhere"}};
  EXPECT_EQ(CheckFlags(flags).error().message,
            "compiler option aic-binary-dir: set from the compile options, not passed on");
  flags.passed = {{"mdts_mos", "1"}, {"mdts-mos", "2"}};
  EXPECT_EQ(CheckFlags(flags).error().message, "compiler option mdts-mos: given twice");
  flags.passed = {};
  flags.num_cores = 0;
  EXPECT_EQ(CheckFlags(flags).error().message, "num_cores: 0, expected at least 1");
}

TEST(CompilerCommand, AShellReadsTheLineAsTheArguments) {
  const Arguments arguments = {
      "/bin/printf", "%s\\n", "-m=/a b/c.onnx", "it's",    "", "$HOME `id`", "a\nb",
      "*",           "~",     "\"q\"",          "-x=1,2:3"};
  FILE* shell = ::popen(ShellLine(arguments).c_str(), "r");
  ASSERT_NE(shell, nullptr);
  std::string output;
  for (int c = std::fgetc(shell); c != EOF; c = std::fgetc(shell)) {
    output += static_cast<char>(c);
  }
  EXPECT_EQ(::pclose(shell), 0);
  std::string expected;
  for (size_t i = 2; i < arguments.size(); ++i) expected += arguments[i] + "\n";
  EXPECT_EQ(output, expected);
  EXPECT_EQ(ShellLine(Arguments{"c", "-m=/a/b.onnx", "x y"}), "c -m=/a/b.onnx 'x y'");
}

}  // namespace
}  // namespace expertile::qaic
