// What the end-to-end tests run over: a tiny model on a target, in a number format.
// Not the models themselves (models/), nor what they should say (tests/golden.h).
#pragma once

#include <algorithm>
#include <ostream>
#include <string>

#include "expertile/model.h"

namespace expertile {

struct Subject {
  std::string model;
  std::string target;
  // A dtype, or of float32: "mxint8 cache", a KV cache in MXINT8, and "mx", which has matrices in
  // MXFP6, too.
  std::string format;
};

inline void PrintTo(const Subject& subject, std::ostream* out) {
  *out << subject.model << " on " << subject.target << " in " << subject.format;
}

// "tiny_gpt_oss_cuda_bfloat16", so that --gtest_filter finds a target's tests.
inline std::string WordOf(const Subject& subject) {
  std::string word = subject.model + "_" + subject.target + "_" + subject.format;
  std::ranges::replace_if(
      word, [](char c) { return c == '-' || c == ' '; }, '_');
  return word;
}

// The options that make it; the test sets the rest.
inline CompileOptions OptionsOf(const Subject& subject) {
  CompileOptions options;
  options.target = subject.target;
  options.mxfp6_matmul = subject.format == "mx";
  options.mxint8_kv_cache = subject.format == "mx" || subject.format == "mxint8 cache";
  options.dtype = options.mxint8_kv_cache ? "float32" : subject.format;
  return options;
}

}  // namespace expertile
