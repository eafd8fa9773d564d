// The tables of options and targets, and compile options as keyword arguments.
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <type_traits>

#include "expertile/option_table.h"
#include "expertile/targets.h"
#include "python/bindings/bindings.h"

namespace expertile::python {
namespace {

// A value as SetOption() reads it.
std::string TextOf(const nb::handle& value) {
  if (nb::isinstance<nb::bool_>(value)) return nb::cast<bool>(value) ? "true" : "false";
  if (nb::isinstance<nb::str>(value)) return nb::cast<std::string>(value);
  if (nb::hasattr(value, "__fspath__")) return nb::cast<std::string>(value.attr("__fspath__")());
  return nb::cast<std::string>(nb::str(value));
}

void SetFrom(const OptionRow& row, const nb::handle& value, CompileOptions& options) {
  const bool is_text = nb::isinstance<nb::str>(value) || nb::hasattr(value, "__fspath__");
  if (std::holds_alternative<OptionAccess<std::string>>(row.field) && !is_text) {
    throw ErrorException({ErrorCode::kInvalidArgument,
                          std::string(row.name) + ": " + TextOf(value) + ", expected text"});
  }
  const bool is_list = std::holds_alternative<OptionAccess<std::vector<std::string>>>(row.field);
  if (!is_list || nb::isinstance<nb::str>(value)) {
    return Unwrap(SetOption(row, TextOf(value), row.name, options));
  }
  for (const nb::handle each : value) {
    Unwrap(SetOption(row, TextOf(each), row.name, options));
  }
}

template <typename T>
nb::object ToObject(const T& value) {
  return nb::cast(value);
}
template <typename T>
nb::object ToObject(const std::optional<T>& value) {
  return value ? nb::cast(*value) : nb::none();
}

}  // namespace

CompileOptions OptionsFrom(const nb::kwargs& given) {
  CompileOptions options;
  for (const auto& [key, value] : given) {
    const auto name = nb::cast<std::string>(key);
    const OptionRow* row = FindOption(name);
    if (row == nullptr) {
      throw nb::type_error(("unexpected keyword argument '" + name + "'").c_str());
    }
    if (!value.is_none()) SetFrom(*row, value, options);
  }
  return options;
}

nb::dict OptionsToDict(const CompileOptions& options) {
  nb::dict dict;
  for (const OptionRow& row : OptionTable()) {
    const nb::str name(row.name.data(), row.name.size());
    VisitOption(row, options, [&](const auto& field) { dict[name] = ToObject(field); });
  }
  return dict;
}

void BindOptions(nb::module_& module) {
  nb::class_<OptionRow>(module, "Option", "A row of the table of compile options.")
      .def_prop_ro("name", [](const OptionRow& row) { return row.name; })
      .def_prop_ro("help", [](const OptionRow& row) { return row.help; })
      .def_prop_ro("type", TypeOf)
      .def_prop_ro("values", ValuesOf)
      .def_prop_ro("default_text", DefaultOf)
      .def_prop_ro("honoured_by", HonouredBy)
      .def_prop_ro("is_optional",
                   [](const OptionRow& row) {
                     const CompileOptions scratch;
                     return VisitOption(row, scratch, []<typename T>(const T&) {
                       return requires(T value) { value.has_value(); };
                     });
                   })
      .def_prop_ro("default", [](const OptionRow& row) {
        const CompileOptions defaults;
        return VisitOption(row, defaults, [](const auto& field) { return ToObject(field); });
      });
  module.def(
      "option_table",
      [] {
        nb::list rows;
        for (const OptionRow& row : OptionTable()) {
          rows.append(nb::cast(&row, nb::rv_policy::reference));
        }
        return rows;
      },
      nb::sig("def option_table() -> list[Option]"));

  nb::class_<TargetDescription>(module, "Target", "What programs can be compiled for.")
      .def_ro("name", &TargetDescription::name)
      .def_ro("about", &TargetDescription::about)
      .def_ro("runs_here", &TargetDescription::runs_here)
      .def_ro("dtypes", &TargetDescription::dtypes);
  module.def("targets", [] {
    // Reads a table under its lock only.
    return Targets();
  });
  module.def(
      "check_options",
      [](const nb::kwargs& options) { Unwrap(CheckOptions(OptionsFrom(options))); },
      "Refuses options that do not go together, or that their target does not honour.");
}

}  // namespace expertile::python
