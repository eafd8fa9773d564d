// What every call of this library that can fail returns: a value, or an Error with one clear line.
// Not for programmer errors.
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
using Status = Result<void>;

template <typename... Args>
tl::unexpected<Error> Fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{kind, fmt::format(format, std::forward<Args>(args)...)});
}

template <typename... Args>
tl::unexpected<Error> Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(ErrorKind::kInvalid, format, std::forward<Args>(args)...);
}

template <typename... Args>
tl::unexpected<Error> Unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(ErrorKind::kUnsupported, format, std::forward<Args>(args)...);
}

}  // namespace jinja

#define JINJA_CONCAT_INNER(a, b) a##b
#define JINJA_CONCAT(a, b) JINJA_CONCAT_INNER(a, b)

// JINJA_ASSIGN(auto x, Compute()): x is the value, or the function returns Compute()'s error.
#define JINJA_ASSIGN(declaration, expression) \
  JINJA_ASSIGN_INNER(declaration, expression, JINJA_CONCAT(result_, __LINE__))
#define JINJA_ASSIGN_INNER(declaration, expression, result)                      \
  auto result = (expression);                                                    \
  if (!result) return tl::unexpected<::jinja::Error>(std::move(result).error()); \
  declaration = *std::move(result)

// JINJA_RETURN_IF_ERROR(Check()): the function returns Check()'s error, if it has one.
#define JINJA_RETURN_IF_ERROR(expression)                                \
  do {                                                                   \
    if (auto status_ = (expression); !status_) {                         \
      return tl::unexpected<::jinja::Error>(std::move(status_).error()); \
    }                                                                    \
  } while (false)
