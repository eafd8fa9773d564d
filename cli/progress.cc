#include "cli/progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "cli/output.h"

namespace expertile::cli {

Progress::Progress(std::string label) : label_(std::move(label)), is_terminal_(isatty(2) == 1) {}

Progress::~Progress() { Clear(); }

void Progress::Show(int64_t done, int64_t total) {
  if (!is_terminal_ || total <= 0) return;
  constexpr int kWidth = 30;
  const auto filled = static_cast<int>(done * kWidth / total);
  PrintError("\r{} [{:<{}}] {:3d}%", label_, std::string(filled, '#'), kWidth, done * 100 / total);
  std::fflush(stderr);
  is_shown_ = true;
}

void Progress::Clear() {
  if (!is_shown_) return;
  PrintError("\r\033[K");
  std::fflush(stderr);
  is_shown_ = false;
}

}  // namespace expertile::cli
