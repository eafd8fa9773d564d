// What the parts of the extension module share: each part's entry, errors as exceptions, arrays
// that own a vector. Not an API: expertile._core is private to the Python package.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "expertile/options.h"
#include "expertile/result.h"

namespace expertile::python {

namespace nb = nanobind;

void BindOptions(nb::module_& module);
void BindModel(nb::module_& module);
void BindSession(nb::module_& module);
void BindGeneration(nb::module_& module);
void BindText(nb::module_& module);
void BindMoe(nb::module_& module);
void BindDispatch(nb::module_& module);
void BindProfile(nb::module_& module);

// An Error on its way to Python, where it becomes an expertile.Error.
struct ErrorException : std::exception {
  explicit ErrorException(Error e) : error(std::move(e)) {}
  const char* what() const noexcept override { return error.message.c_str(); }
  Error error;
};

template <typename T>
T Unwrap(Result<T> result) {
  if (!result) throw ErrorException(std::move(result).error());
  return *std::move(result);
}
inline void Unwrap(Status status) {
  if (!status) throw ErrorException(std::move(status).error());
}

// The word for a code in Python: "invalid_argument".
const char* NameOf(ErrorCode code);

// A NumPy array that owns `values`, which are not copied.
template <typename T>
nb::ndarray<nb::numpy, T> ToArray(std::vector<T> values, std::vector<size_t> shape) {
  auto* owned = new std::vector<T>(std::move(values));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::ndarray<nb::numpy, T>(owned->data(), shape.size(), shape.data(), owner);
}

using Ids = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
inline std::span<const int32_t> SpanOf(const Ids& ids) { return {ids.data(), ids.size()}; }

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
inline std::vector<float> VectorOf(const Floats& values) {
  return {values.data(), values.data() + values.size()};
}

// Compile options from keyword arguments, through the option table. None leaves a default. Throws:
// TypeError for a name that is in no row; ErrorException for a value that its row refuses.
CompileOptions OptionsFrom(const nb::kwargs& given);
nb::dict OptionsToDict(const CompileOptions& options);

// A callback (done, total) that may raise: what it raised is kept, and Rethrow() raises it when the
// call that it belongs to is over. Both need the GIL.
class ProgressCallback {
 public:
  explicit ProgressCallback(std::optional<nb::callable> function)
      : function_(std::move(function)) {}
  std::function<void(int64_t, int64_t)> Get();
  void Rethrow();
  // By the thread that runs the callback, or when the call is over.
  bool has_raised() const { return raised_ != nullptr; }

 private:
  std::optional<nb::callable> function_;
  std::exception_ptr raised_;
};

}  // namespace expertile::python
