// One line of progress on a terminal; silent when standard error is piped.
// Not a log.
#pragma once

#include <cstdint>
#include <string>

#include "expertile/model.h"

namespace expertile::cli {

class Progress {
 public:
  explicit Progress(std::string label);
  ~Progress();  // clears the line
  void Show(int64_t done, int64_t total);
  void Clear();

 private:
  std::string label_;
  bool is_terminal_;
  bool is_shown_ = false;
};

// model.Compile(options), with a line of progress.
Result<Program> CompileWithProgress(const Model& model, const CompileOptions& options);

}  // namespace expertile::cli
