// expertile._core: errors, the log and the parts of the module.
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <functional>
#include <memory>

#include "expertile/log.h"
#include "expertile/version.h"
#include "python/bindings/bindings.h"

namespace expertile::python {

const char* NameOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kInvalidData:
      return "invalid_data";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kOutOfMemory:
      return "out_of_memory";
    case ErrorCode::kNotFinite:
      return "not_finite";
    case ErrorCode::kCancelled:
      return "cancelled";
  }
  return "";
}

std::function<void(int64_t, int64_t)> ProgressCallback::Get() {
  if (!function_) return nullptr;
  return [this](int64_t done, int64_t total) {
    const nb::gil_scoped_acquire gil;
    if (raised_) return;
    try {
      (*function_)(done, total);
    } catch (nb::python_error&) {
      raised_ = std::current_exception();
    }
  };
}

void ProgressCallback::Rethrow() {
  if (raised_) std::rethrow_exception(std::exchange(raised_, nullptr));
}

namespace {

// An expertile.Error of the right kind.
void RaiseError(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const ErrorException& exception) {
    try {
      const nb::object make = nb::module_::import_("expertile.errors").attr("_make");
      const std::string& message = exception.error.message;
      const nb::object error =
          make(NameOf(exception.error.code),
               nb::steal(PyUnicode_DecodeUTF8(message.data(), message.size(), "replace")));
      PyErr_SetObject(error.type().ptr(), error.ptr());
    } catch (nb::python_error& failure) {
      failure.restore();
    }
  }
}

// Lines go to sink(level, text); what it raises is reported as unraisable. None is silence.
void SetLog(const std::optional<nb::callable>& sink, bool debug) {
  LogSink passed;
  if (sink) {
    // Freed under the GIL, whoever frees it last.
    const std::shared_ptr<nb::object> shared(new nb::object(*sink), [](nb::object* object) {
      const nb::gil_scoped_acquire gil;
      delete object;
    });
    passed = [shared](LogLevel level, std::string_view text) {
      const nb::gil_scoped_acquire gil;
      try {
        (*shared)(level == LogLevel::kDebug ? "debug" : "info",
                  nb::steal(PyUnicode_DecodeUTF8(text.data(), text.size(), "replace")));
      } catch (nb::python_error& error) {
        error.discard_as_unraisable("expertile's log");
      }
    };
  }
  const nb::gil_scoped_release no_gil;
  SetLogSink(std::move(passed), debug ? LogLevel::kDebug : LogLevel::kInfo);
}

}  // namespace
}  // namespace expertile::python

NB_MODULE(_core, module) {
  using namespace expertile::python;  // NOLINT(google-build-using-namespace)
  module.doc() = "The C++ library behind the package expertile. Private: names may change.";
  module.attr("version") = expertile::kVersion;
  nb::register_exception_translator(RaiseError);
  module.def("set_log", SetLog, nb::arg("sink").none(), nb::arg("debug") = false,
             "Passes the library's log to sink(level, text).");
  BindOptions(module);
  BindText(module);
  BindModel(module);
  BindSession(module);
  BindGeneration(module);
  BindMoe(module);
  BindDispatch(module);
  BindProfile(module);
}
