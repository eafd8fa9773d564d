// What every expertile call that can fail returns: a value, or an Error whose message holds facts.
// Not for programmer errors: those are EXPERTILE_DCHECK (base/check.h).
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace expertile {

enum class ErrorCode {
  kInvalidArgument,  // an option or input value that the caller can mend
  kInvalidData,      // a file whose bytes do not mean what its format says
  kNotFound,         // a file or a tensor that is not there
  kUnsupported,      // understood, but not something this build or target can do
  kIo,               // the operating system refused
  kOutOfMemory,
};

struct Error {
  ErrorCode code = ErrorCode::kInvalidData;
  // One line that names the file, tensor or option and holds both values, e.g.
  // "model.layers.3.mlp.gate.weight: shape [32,192], expected [16,192]".
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

}  // namespace expertile
