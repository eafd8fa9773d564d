// Making and passing on errors: Fail("…{}…", value) and the two propagation macros.
// Not for logging, and not for programmer errors (base/check.h).
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

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

#define EXPERTILE_CONCAT_INNER(a, b) a##b
#define EXPERTILE_CONCAT(a, b) EXPERTILE_CONCAT_INNER(a, b)

// EXPERTILE_ASSIGN(auto x, Compute()): x is the value, or the function returns Compute()'s error.
#define EXPERTILE_ASSIGN(declaration, expression) \
  EXPERTILE_ASSIGN_INNER(declaration, expression, EXPERTILE_CONCAT(result_, __LINE__))
#define EXPERTILE_ASSIGN_INNER(declaration, expression, result)                      \
  auto result = (expression);                                                        \
  if (!result) return tl::unexpected<::expertile::Error>(std::move(result).error()); \
  declaration = *std::move(result)

// EXPERTILE_RETURN_IF_ERROR(Check()): the function returns Check()'s error, if it has one.
#define EXPERTILE_RETURN_IF_ERROR(expression)                                \
  do {                                                                       \
    if (auto status_ = (expression); !status_) {                             \
      return tl::unexpected<::expertile::Error>(std::move(status_).error()); \
    }                                                                        \
  } while (false)
