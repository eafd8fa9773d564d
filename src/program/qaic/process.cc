#include "program/qaic/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"

extern char** environ;

namespace expertile::qaic {
namespace {

// Redirections of a process to be spawned.
class FileActions {
 public:
  FileActions() { ::posix_spawn_file_actions_init(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }

  int Open(int descriptor, const char* path, int flags) {
    return ::posix_spawn_file_actions_addopen(&actions_, descriptor, path, flags, 0644);
  }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

int Spawn(std::span<const std::string> arguments, const std::filesystem::path& stdout_file,
          const std::filesystem::path& stderr_file, pid_t& process) {
  constexpr int kMade = O_WRONLY | O_CREAT | O_TRUNC;
  FileActions actions;
  for (const int error : {actions.Open(STDIN_FILENO, "/dev/null", O_RDONLY),
                          actions.Open(STDOUT_FILENO, stdout_file.c_str(), kMade),
                          actions.Open(STDERR_FILENO, stderr_file.c_str(), kMade)}) {
    if (error != 0) return error;
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  return ::posix_spawn(&process, argv[0], actions.get(), nullptr, argv.data(), environ);
}

}  // namespace

std::string ProcessEnd::Text() const {
  if (signal == 0) return fmt::format("exit status {}", exit_status);
  return fmt::format("killed by signal {} ({})", signal, ::strsignal(signal));
}

Result<ProcessEnd> RunProcess(std::span<const std::string> arguments,
                              const std::filesystem::path& stdout_file,
                              const std::filesystem::path& stderr_file) {
  if (arguments.empty()) return InvalidArgument("no program to run");
  pid_t process = 0;
  if (const int error = Spawn(arguments, stdout_file, stderr_file, process); error != 0) {
    return IoError("{}: cannot be started: {}", arguments[0], std::strerror(error));
  }
  int status = 0;
  while (::waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) {
      return IoError("{}: cannot be waited for: {}", arguments[0], std::strerror(errno));
    }
  }
  if (WIFSIGNALED(status)) return ProcessEnd{0, WTERMSIG(status)};
  return ProcessEnd{WEXITSTATUS(status), 0};
}

}  // namespace expertile::qaic
