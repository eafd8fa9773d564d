// What every expertile call that can fail returns: a value, or an Error whose message holds facts.
// Not for programmer errors: those are EXPERTILE_DCHECK (base/check.h).
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace expertile {

enum class ErrorCode {
  kInvalidArgument,  // an option or input value that the caller can mend
  kInvalidData,      // a file whose bytes do not mean what its format says
  kNotFound,         // a file or a tensor that is not there
  kUnsupported,      // understood, but not something this build or target can do
  kIo,               // the operating system refused
  kOutOfMemory,
  kNotFinite,  // the model computed a NaN or an infinity where a number is needed
  kCancelled,  // the caller's IsCancelled said so
};

struct Error {
  ErrorCode code = ErrorCode::kInvalidData;
  // One line that names the file, tensor or option and holds both values, e.g.
  // "model.layers.3.mlp.gate.weight: shape [32,192], expected [16,192]".
  std::string message;
};

// A tl::expected that no caller may drop unread.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};
using Status = Result<void>;

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
