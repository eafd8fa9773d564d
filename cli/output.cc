#include "cli/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

namespace expertile::cli {
namespace {

// The first failure of a stream: errno, or 0.
int output_failure = 0;
int error_failure = 0;

int& FailureOf(std::FILE* stream) { return stream == stdout ? output_failure : error_failure; }

void Remember(std::FILE* stream) {
  if (FailureOf(stream) == 0) FailureOf(stream) = errno != 0 ? errno : EIO;
}

bool Flush(std::FILE* stream) {
  errno = 0;
  if (std::fflush(stream) == 0) return true;
  Remember(stream);
  return false;
}

}  // namespace

void Write(std::FILE* stream, std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stream) != text.size()) Remember(stream);
}

bool PrintNow(std::string_view text) {
  Write(stdout, text);
  return Flush(stdout) && output_failure == 0;
}

void PrepareOutput() {
  for (const int descriptor : {0, 1, 2}) {
    if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // The way round that its use fails, as it would have: the lowest free descriptor is this one.
    [[maybe_unused]] const int opened = ::open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY);
  }
  std::signal(SIGXFSZ, SIG_IGN);
}

int ExitStatus(int status) {
  Flush(stdout);
  Flush(stderr);
  if (status != 0) return status;
  for (const auto& [name, failure] :
       {std::pair("standard output", output_failure), std::pair("standard error", error_failure)}) {
    if (failure == 0) continue;
    if (failure != EPIPE) {
      Report(fmt::format("{}: cannot write: {}", name, std::strerror(failure)));
    }
    return 1;
  }
  return 0;
}

void Report(std::string_view message) {
  std::string line = fmt::format("expertile: {}", message);
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  Write(stderr, line + "\n");
}

}  // namespace expertile::cli
