// The command line of the Cloud AI 100 compiler, argument by argument and in order.
// Not its execution (qaic_compiler.h).
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "expertile/result.h"
#include "program/qaic/partition.h"

namespace expertile::qaic {

// An option that is passed on to the compiler as it is.
struct PassedOption {
  std::string name;                  // mos; mdts_mos and mdts-mos are the same
  std::optional<std::string> value;  // none: a bare flag
  bool names_file = false;           // the value is a file that the compiler reads

  bool operator==(const PassedOption&) const = default;
};

struct CompilerFlags {
  std::string hw_version = "ai100";
  int num_cores = 16;          // NSPs of each device that the program uses
  bool retained_state = true;  // outputs X_RetainedState stay on the card; false: vision graphs
  bool convert_to_fp16 = true;
  bool mxfp6_matmul = false;
  bool sub_functions = false;        // the graph's functions are compiled once each
  std::vector<PassedOption> passed;  // in the order that the user gave
};

// What the command reads and writes. Empty: not there.
struct CompilerFiles {
  std::filesystem::path onnx;
  std::filesystem::path specializations;
  std::filesystem::path custom_io;
  std::filesystem::path partition;
  Partition::Kind partition_kind = Partition::Kind::kTensorSlicing;
  std::filesystem::path program;  // the folder that the compiler makes
};

// "mos=1" or "user-tiled"; node-precision-info is known to name a file.
// Errors: no name, a character that no option has.
Result<PassedOption> ParsePassedOption(std::string_view text);

// Errors: num_cores below 1, an empty hw_version, a passed option that is one of the flags above or
// given twice.
Status CheckFlags(const CompilerFlags& flags);

// compiler -aic-hw -aic-hw-version=… -m=… [pipeline or given partition] [-retained-state]
// [-convert-to-fp16] [-mxfp6-matmul] -aic-num-cores=N passed… [-sub-functions] [tensor slicing]
// -network-specialization-config=… [-custom-IO-list-file=…] -aic-binary-dir=…
std::vector<std::string> CompilerArguments(const std::filesystem::path& compiler,
                                           const CompilerFlags& flags, const CompilerFiles& files);

// One line that a POSIX shell reads as exactly these arguments.
std::string ShellLine(std::span<const std::string> arguments);

}  // namespace expertile::qaic
