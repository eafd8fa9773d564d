// Making errors: Fail("…{}…", value). Passing them on: the macros of expertile/result.h.
// Not for logging, and not for programmer errors (base/check.h).
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "expertile/result.h"

namespace expertile {

template <typename... Args>
tl::unexpected<Error> Fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

template <typename... Args>
tl::unexpected<Error> InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(ErrorCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

template <typename... Args>
tl::unexpected<Error> InvalidData(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(ErrorCode::kInvalidData, format, std::forward<Args>(args)...);
}

template <typename... Args>
tl::unexpected<Error> NotFound(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(ErrorCode::kNotFound, format, std::forward<Args>(args)...);
}

template <typename... Args>
tl::unexpected<Error> Unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(ErrorCode::kUnsupported, format, std::forward<Args>(args)...);
}

template <typename... Args>
tl::unexpected<Error> IoError(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(ErrorCode::kIo, format, std::forward<Args>(args)...);
}

// What `work` returns, or kOutOfMemory if it throws std::bad_alloc; `what` names what there was no
// memory for.
template <typename Work>
auto CatchOutOfMemory(std::string_view what, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Fail(ErrorCode::kOutOfMemory, "no memory for {}", what);
  }
}

// `text` from an untrusted file as a message may hold it: one line of printable ASCII (any other
// byte as \xNN), cut after 120 bytes.
inline std::string OneLine(std::string_view text) {
  constexpr size_t kMaxSize = 120;
  std::string line;
  for (const char c : text.substr(0, kMaxSize)) {
    const bool printable = c >= 0x20 && c < 0x7f;
    line += printable ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text.size() > kMaxSize ? line + "..." : line;
}

// Formats a shape as error messages show it: [32,192].
template <typename Dims>
std::string ShapeText(const Dims& dims) {
  return fmt::format("[{}]", fmt::join(dims, ","));
}

}  // namespace expertile
