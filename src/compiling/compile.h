// From options to programs, and what is said of them: what model.cc and compile.cc share.
// Not public: include/expertile/model.h is.
#pragma once

#include <string>

#include "base/error.h"
#include "expertile/model.h"
#include "expertile/options.h"
#include "model/checkpoint.h"
#include "targets/target.h"

namespace expertile {

// Checks options, and replaces what stands for a value by that value: ctx_len, dtype, num_nsp
// "auto". num_cores 0 stays: it means the processors of the machine that runs the program.
Result<CompileOptions> ResolveOptions(CompileOptions options, const ModelConfig& model);

// What tells a checkpoint's weights and config.json from others'. Its files are read once; the
// cache remembers their hashes.
Result<std::string> DigestOfCheckpoint(const Checkpoint& checkpoint, const std::string& cache_dir,
                                       const Watch& watch = nullptr);

// Whether there is a vision part that is to be compiled.
inline bool HasVision(const CompileOptions& options, const ModelConfig& model) {
  return model.vision && !options.skip_vision;
}

// A checkpoint's public description, counted from its spec and tensors.
ModelDescription Describe(const Checkpoint& checkpoint);

// The same of a program: no bytes or dtype of a checkpoint.
ModelDescription Describe(const ModelConfig& config);

int CoresOf(const CompileOptions& options);

// mxint8 if it is asked for, else as precise as the arithmetic.
KvFormat KvFormatOf(const CompileOptions& options);

TargetOptions TargetOptionsOf(const CompileOptions& options);

}  // namespace expertile
