// TextTokenizer and TextStream.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "expertile/tokenizer.h"
#include "python/bindings/bindings.h"

namespace expertile::python {

void BindText(nb::module_& module) {
  using T = TextTokenizer;
  nb::class_<T>(module, "Tokenizer", "A checkpoint's tokenizer.json.")
      .def_static(
          "load",
          [](const std::filesystem::path& folder) {
            return Unwrap([&] {
              const nb::gil_scoped_release no_gil;
              return T::Load(folder);
            }());
          },
          nb::arg("folder"))
      .def(
          "encode",
          [](const T& t, std::string_view text, bool add_special_tokens) {
            std::vector<int32_t> ids = Unwrap(t.Encode(text, add_special_tokens));
            const size_t size = ids.size();
            return ToArray(std::move(ids), {size});
          },
          nb::arg("text"), nb::arg("add_special_tokens") = true)
      .def(
          "decode",
          [](const T& t, const Ids& ids, bool skip_special_tokens) {
            return Unwrap(t.Decode(SpanOf(ids), skip_special_tokens));
          },
          nb::arg("token_ids"), nb::arg("skip_special_tokens") = false)
      .def(
          "decode",
          [](const T& t, const std::vector<int32_t>& ids, bool skip_special_tokens) {
            return Unwrap(t.Decode(ids, skip_special_tokens));
          },
          nb::arg("token_ids"), nb::arg("skip_special_tokens") = false)
      .def("token_text", &T::TokenText, nb::arg("token_id"))
      .def("token_id", &T::TokenId, nb::arg("token"));
  nb::class_<TextStream>(module, "TextStream", "Decodes ids as they come.")
      .def(nb::init<const T&, bool>(), nb::arg("tokenizer"), nb::arg("skip_special_tokens") = false)
      .def("push", [](TextStream& stream, int32_t id) { return Unwrap(stream.Push(id)); })
      .def("flush", &TextStream::Flush);
}

}  // namespace expertile::python
