// MoeProfile: as JSON, and as a report.
#include "expertile/profile.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>

#include "python/bindings/handles.h"

namespace expertile::python {
namespace {

MoeProfile Profile(const ProgramHandle& handle, const Ids& ids) {
  Interrupt interrupt;
  return Unwrap(RunInterruptibly(*handle.lock, interrupt, [&] {
    return ProfilePrefill(handle.program, SpanOf(ids), [&] { return interrupt.Ask(); });
  }));
}

}  // namespace

void BindProfile(nb::module_& module) {
  nb::class_<MoeProfile>(module, "MoeProfile", "How a prompt's tokens lie on experts and NSPs.")
      .def("to_json", &ProfileToJson)
      .def("write_report", [](const MoeProfile& profile, const std::filesystem::path& file) {
        Unwrap(WriteProfileReport(profile, file));
      });
  module.def("profile", Profile, nb::arg("program"), nb::arg("token_ids"));
}

}  // namespace expertile::python
