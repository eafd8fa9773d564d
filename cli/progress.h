// One line of progress on a terminal; silent when standard error is piped.
// Not a log.
#pragma once

#include <cstdint>
#include <string>

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

}  // namespace expertile::cli
