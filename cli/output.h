// What a command prints, and whether it could: a program that cannot write its output has failed.
// Not files: the library writes those.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string_view>
#include <utility>

namespace expertile::cli {

// Puts `text` into the stream's buffer; what goes wrong, ExitStatus() reports.
void Write(std::FILE* stream, std::string_view text);

template <typename... Args>
void Print(fmt::format_string<Args...> format, Args&&... args) {
  Write(stdout, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void PrintError(fmt::format_string<Args...> format, Args&&... args) {
  Write(stderr, fmt::format(format, std::forward<Args>(args)...));
}

// Writes `text` to standard output at once. False when it cannot be written: nobody reads it any
// more, the disk is full.
bool PrintNow(std::string_view text);

// Before anything is opened or written: a standard stream that is closed stays unwritable, rather
// than becoming the first file that is opened; a file that outgrows its limit is an error to
// report, not a signal.
void PrepareOutput();

// At the end: `status`, or if that is 0 and something could not be written, 1, with a line on
// standard error. Without the line where a pipe's reader has gone, as is usual.
int ExitStatus(int status);

// One line on standard error.
void Report(std::string_view message);

}  // namespace expertile::cli
