// Session: rows in, logits out; sequences; the KV cache as arrays.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "expertile/evaluation.h"
#include "python/bindings/handles.h"

namespace expertile::python {
namespace {

using Positions = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<nb::numpy, float>;
// Sequence, token ids, images, RoPE's positions [A, tokens] or nothing.
using Row = std::tuple<int64_t, Ids, std::vector<EncodedImage>, std::optional<Positions>>;

std::vector<Extension> ExtensionsOf(const std::vector<Row>& rows) {
  std::vector<Extension> extensions;
  for (const auto& [sequence, ids, images, positions] : rows) {
    extensions.push_back({sequence, SpanOf(ids), images});
    if (positions) extensions.back().rope_positions = {positions->data(), positions->size()};
  }
  return extensions;
}

Logits ToLogits(std::vector<float> values, size_t num_rows) {
  const size_t width = num_rows == 0 ? 0 : values.size() / num_rows;
  return ToArray(std::move(values), {num_rows, width});
}

Logits Run(SessionHandle& handle, const std::vector<Row>& rows, bool all_logits) {
  const std::vector<Extension> extensions = ExtensionsOf(rows);
  size_t num_rows = extensions.size();
  if (all_logits) {
    num_rows = 0;
    for (const Extension& extension : extensions) num_rows += extension.token_ids.size();
  }
  const auto wanted = all_logits ? LogitsWanted::kAll : LogitsWanted::kLast;
  return ToLogits(handle.Run([&] { return handle.session.Run(extensions, wanted); }), num_rows);
}

Logits Decode(SessionHandle& handle, const std::vector<Row>& rows) {
  const std::vector<Extension> extensions = ExtensionsOf(rows);
  return ToLogits(handle.Run([&] { return handle.session.Decode(extensions); }), extensions.size());
}

using Plane = nb::ndarray<nb::numpy, float>;

// One layer's rows [kv_heads, num_tokens, D].
Plane ToPlane(std::vector<float> rows, const KvState& kv, const KvState::Layer& layer) {
  return ToArray(std::move(rows),
                 {static_cast<size_t>(layer.num_kv_heads), static_cast<size_t>(kv.num_tokens),
                  static_cast<size_t>(layer.head_dim)});
}

nb::tuple ReadKv(SessionHandle& handle, int64_t sequence) {
  KvState kv = handle.Run([&] { return handle.session.ReadKv(sequence); });
  nb::list layers;
  for (KvState::Layer& layer : kv.layers) {
    layers.append(nb::make_tuple(ToPlane(std::move(layer.keys), kv, layer),
                                 ToPlane(std::move(layer.values), kv, layer)));
  }
  const size_t size = kv.next_deltas.size();
  return nb::make_tuple(layers, ToArray(std::move(kv.next_deltas), {size}));
}

using GivenPlane = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

void WriteKv(SessionHandle& handle, int64_t sequence,
             const std::vector<std::pair<GivenPlane, GivenPlane>>& layers,
             const std::optional<Ids>& next_deltas) {
  KvView kv;
  if (!layers.empty()) kv.num_tokens = static_cast<int64_t>(layers[0].first.shape(1));
  for (const auto& [keys, values] : layers) {
    kv.layers.push_back({static_cast<int64_t>(keys.shape(0)),
                         static_cast<int64_t>(keys.shape(2)),
                         {keys.data(), keys.size()},
                         {values.data(), values.size()}});
  }
  if (next_deltas) kv.next_deltas = SpanOf(*next_deltas);
  Unwrap(RunUnlocked(*handle.lock, [&] { return handle.session.WriteKv(sequence, kv); }));
}

// A call that changes or asks for sequences only.
template <auto Method, typename... Args>
auto Sequences(SessionHandle& handle, Args... args) {
  return Unwrap(RunUnlocked(*handle.lock, [&] { return (handle.session.*Method)(args...); }));
}

nb::dict EvaluateIds(SessionHandle& handle, const Ids& ids, std::optional<nb::callable> progress) {
  ProgressCallback callback(std::move(progress));
  const OnProgress on_progress = callback.Get();
  const Evaluation evaluation =
      handle.Run([&] { return Evaluate(handle.session, SpanOf(ids), on_progress); });
  callback.Rethrow();
  nb::dict result;
  result["tokens"] = evaluation.tokens;
  result["scored_tokens"] = evaluation.scored_tokens;
  result["mean_nll"] = evaluation.mean_nll;
  result["tokens_per_second"] = evaluation.tokens_per_second;
  return result;
}

nb::dict LoadOf(const SessionHandle& handle) {
  const NspLoad load = handle.session.nsp_load();
  nb::dict result;
  const size_t n = load.rows.size();
  result["rows"] = ToArray(load.rows, {n});
  result["busy_seconds"] = ToArray(load.busy_seconds, {n});
  result["busiest_worker_seconds"] = load.busiest_worker_seconds;
  result["mean_worker_seconds"] = load.mean_worker_seconds;
  return result;
}

}  // namespace

void BindSession(nb::module_& module) {
  using H = SessionHandle;
  using Path = std::filesystem::path;
  nb::class_<H>(module, "Session", "Sequences of a program, and their KV cache.")
      .def("run", Run, nb::arg("rows"), nb::arg("all_logits") = false,
           "Extends the sequences; the logits of each one's last token, or of all tokens.")
      .def("decode", Decode, nb::arg("rows"))
      .def(
          "cancel", [](H& h) { h.interrupt->Cancel(); },
          "Stops the call that is running in another thread, before its next layer.")
      .def_prop_ro("batch_size", [](const H& h) { return h.session.batch_size(); })
      .def_prop_ro("ctx_len", [](const H& h) { return h.session.ctx_len(); })
      .def_prop_ro("prefill_seq_len", [](const H& h) { return h.session.prefill_seq_len(); })
      .def("new_sequence",
           [](H& h) { return RunUnlocked(*h.lock, [&] { return h.session.NewSequence(); }); })
      .def("drop_sequence", Sequences<&Session::DropSequence, int64_t>, nb::arg("sequence"))
      .def("fork", Sequences<&Session::Fork, int64_t>, nb::arg("sequence"))
      .def("length", Sequences<&Session::length, int64_t>, nb::arg("sequence"))
      .def("truncate", Sequences<&Session::Truncate, int64_t, int64_t>, nb::arg("sequence"),
           nb::arg("length"))
      .def("clear", Sequences<&Session::Clear, int64_t>, nb::arg("sequence"))
      .def("read_kv", ReadKv, nb::arg("sequence"),
           "([(keys, values) of each layer], next_deltas); keys and values [kv_heads, n, D].")
      .def("write_kv", WriteKv, nb::arg("sequence"), nb::arg("layers"),
           nb::arg("next_deltas").none() = nb::none())
      .def("save_kv", Sequences<&Session::SaveKv, int64_t, Path>, nb::arg("sequence"),
           nb::arg("file"))
      .def("load_kv", Sequences<&Session::LoadKv, int64_t, Path>, nb::arg("sequence"),
           nb::arg("file"))
      .def("evaluate", EvaluateIds, nb::arg("token_ids"), nb::arg("progress").none() = nb::none())
      .def_prop_ro("nsp_load", LoadOf);
}

}  // namespace expertile::python
