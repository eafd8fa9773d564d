// What a call of this library that can fail returns: a value, or an Error with one clear line.
// Inside, a failure travels as a Failure, which no public function lets out.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace jinja {

enum class ErrorKind {
  kInvalid,      // a template, or values, for which Jinja fails, too; or a limit
  kUnsupported,  // what Jinja could do and this library can not
  kRaised,       // the template called raise_exception: its message alone
};

struct Error {
  ErrorKind kind = ErrorKind::kInvalid;
  std::string message;
};

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

struct Failure {
  Error error;
};

template <typename... Args>
[[noreturn]] void Fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Failure{{kind, fmt::format(format, std::forward<Args>(args)...)}};
}

template <typename... Args>
[[noreturn]] void Invalid(fmt::format_string<Args...> format, Args&&... args) {
  Fail(ErrorKind::kInvalid, format, std::forward<Args>(args)...);
}

template <typename... Args>
[[noreturn]] void Unsupported(fmt::format_string<Args...> format, Args&&... args) {
  Fail(ErrorKind::kUnsupported, format, std::forward<Args>(args)...);
}

}  // namespace jinja
