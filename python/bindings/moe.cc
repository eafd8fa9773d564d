// MoeExperts on arrays of any framework (__dlpack__).
#include "expertile/moe.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <variant>

#include "expertile/option_table.h"
#include "python/bindings/bindings.h"

namespace expertile::python {
namespace {

using Tensor = nb::ndarray<nb::ro, nb::device::cpu>;

Error Refusal(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

std::string ShapeOf(const Tensor& tensor) {
  std::string text = "[";
  for (size_t i = 0; i < tensor.ndim(); ++i) {
    text += (i > 0 ? "," : "") + std::to_string(tensor.shape(i));
  }
  return text + "]";
}

FloatFormat FormatOf(const Tensor& tensor, const char* name) {
  if (tensor.dtype() == nb::dtype<float>()) return FloatFormat::kFloat32;
  const nb::dlpack::dtype bfloat16{static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat), 16, 1};
  if (tensor.dtype() == bfloat16) return FloatFormat::kBFloat16;
  throw ErrorException(Refusal(std::string(name) + ": expected float32 or bfloat16"));
}

void CheckShape(const Tensor& tensor, const char* name, const std::vector<int64_t>& expected) {
  bool is_same = tensor.ndim() == expected.size();
  std::string text;
  for (size_t i = 0; i < expected.size(); ++i) {
    is_same = is_same && static_cast<int64_t>(tensor.shape(i)) == expected[i];
    text += (i > 0 ? "," : "") + std::to_string(expected[i]);
  }
  if (is_same) return;
  throw ErrorException(
      Refusal(std::string(name) + ": shape " + ShapeOf(tensor) + ", expected [" + text + "]"));
}

// How transformers lays out experts: gate and up in one tensor.
struct Layout {
  bool is_transposed;    // [E,H,2I] and [E,I,H]; else [E,2I,H] and [E,H,I]
  bool is_concatenated;  // gate rows, then up rows; else they take turns
};

// The matrices of a tensor [E, rows, cols] or, transposed, [E, cols, rows], from row `first` on,
// every `step`-th.
ExpertMatrices MatricesOf(const Tensor& tensor, const char* name, bool is_transposed, int64_t first,
                          int64_t step) {
  const FloatFormat format = FormatOf(tensor, name);
  const bool has_rows = tensor.ndim() == 3;
  const int64_t row = !has_rows ? tensor.stride(1) : tensor.stride(is_transposed ? 2 : 1);
  const int64_t col = !has_rows ? 0 : tensor.stride(is_transposed ? 1 : 2);
  const int64_t size = format == FloatFormat::kFloat32 ? 4 : 2;
  const auto* data = static_cast<const std::byte*>(tensor.data()) + first * row * size;
  // A bias [E, n] is one row of n values for each expert.
  if (!has_rows) return {data, format, {tensor.stride(0), 0, step * row}};
  return {data, format, {tensor.stride(0), step * row, col}};
}

ExpertWeights WeightsOf(const Tensor& gate_up, const Tensor& down,
                        const std::optional<Tensor>& gate_up_bias,
                        const std::optional<Tensor>& down_bias, Layout layout) {
  if (gate_up.ndim() != 3 || down.ndim() != 3) {
    throw ErrorException(Refusal("gate_up: shape " + ShapeOf(gate_up) + ", down: shape " +
                                 ShapeOf(down) + ", expected three dimensions of both"));
  }
  const int rows = layout.is_transposed ? 2 : 1;
  const auto E = static_cast<int64_t>(gate_up.shape(0));
  const auto H = static_cast<int64_t>(gate_up.shape(3 - rows));
  const auto I = static_cast<int64_t>(gate_up.shape(rows)) / 2;
  if (gate_up.shape(rows) % 2 != 0 || E > 1 << 20) {
    throw ErrorException(Refusal("gate_up: shape " + ShapeOf(gate_up) + ", expected gate and up"));
  }
  CheckShape(down, "down", layout.is_transposed ? std::vector{E, I, H} : std::vector{E, H, I});
  ExpertWeights weights;
  weights.num_experts = static_cast<int>(E);
  weights.hidden_size = H;
  weights.intermediate_size = I;
  const int64_t up = layout.is_concatenated ? I : 1;
  const int64_t step = layout.is_concatenated ? 1 : 2;
  weights.gate = MatricesOf(gate_up, "gate_up", layout.is_transposed, 0, step);
  weights.up = MatricesOf(gate_up, "gate_up", layout.is_transposed, up, step);
  weights.down = MatricesOf(down, "down", layout.is_transposed, 0, 1);
  if (gate_up_bias) {
    CheckShape(*gate_up_bias, "gate_up_bias", {E, 2 * I});
    weights.gate_bias = MatricesOf(*gate_up_bias, "gate_up_bias", false, 0, step);
    weights.up_bias = MatricesOf(*gate_up_bias, "gate_up_bias", false, up, step);
  }
  if (down_bias) {
    CheckShape(*down_bias, "down_bias", {E, H});
    weights.down_bias = MatricesOf(*down_bias, "down_bias", false, 0, 1);
  }
  return weights;
}

// As the option table reads them: none, auto, or a number; and auto, or a number.
CompileOptions BlockingOf(const nb::object& num_nsp, const nb::object& packed_chunk_size) {
  CompileOptions options;
  const auto set = [&](std::string_view option, std::string_view name, const nb::object& value) {
    const std::string text = value.is_none() ? "none" : nb::cast<std::string>(nb::str(value));
    Unwrap(SetOption(*FindOption(option), text, name, options));
  };
  set("moe_prefill_num_nsp", "num_nsp", num_nsp);
  set("moe_prefill_packed_chunk_size", "packed_chunk_size", packed_chunk_size);
  return options;
}

MoeExperts Pack(const Tensor& gate_up, const Tensor& down,
                const std::optional<Tensor>& gate_up_bias, const std::optional<Tensor>& down_bias,
                bool is_transposed, bool is_concatenated,
                const std::optional<std::pair<float, float>>& clamped_swiglu,
                const nb::object& num_nsp, const nb::object& packed_chunk_size, int num_cores,
                const std::string& dtype) {
  ExpertWeights weights =
      WeightsOf(gate_up, down, gate_up_bias, down_bias, {is_transposed, is_concatenated});
  if (clamped_swiglu) {
    weights.activation = ExpertActivation::kClampedSwiGlu;
    std::tie(weights.limit, weights.alpha) = *clamped_swiglu;
  }
  if (dtype != "float32" && dtype != "bfloat16") {
    throw ErrorException(Refusal("dtype: " + dtype + ", expected float32 or bfloat16"));
  }
  const CompileOptions blocking = BlockingOf(num_nsp, packed_chunk_size);
  const MoeExpertsOptions options{
      blocking.moe_prefill_num_nsp, blocking.moe_prefill_packed_chunk_size, num_cores,
      dtype == "bfloat16" ? FloatFormat::kBFloat16 : FloatFormat::kFloat32};
  return Unwrap([&] {
    const nb::gil_scoped_release no_gil;
    return MoeExperts::Pack(weights, options);
  }());
}

using Ids2 = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Weights2 = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void Run(MoeExperts& experts, const Rows& hidden, const Ids2& ids, const Weights2& weights,
         const Out& out) {
  const auto T = static_cast<int64_t>(hidden.shape(0));
  const Tensor rows(hidden);
  CheckShape(rows, "hidden", {T, experts.hidden_size()});
  CheckShape(Tensor(out), "out", {T, experts.hidden_size()});
  CheckShape(Tensor(ids), "topk_ids", {T, static_cast<int64_t>(ids.shape(1))});
  CheckShape(Tensor(weights), "topk_weights", {T, static_cast<int64_t>(ids.shape(1))});
  const FloatFormat format = FormatOf(rows, "hidden");
  if (FormatOf(Tensor(out), "out") != format) {
    throw ErrorException(Refusal("out: another number format than hidden's"));
  }
  Unwrap([&] {
    const nb::gil_scoped_release no_gil;
    return experts.Run({hidden.data(), format}, T, {ids.data(), ids.size()},
                       {weights.data(), weights.size()}, out.data());
  }());
}

}  // namespace

void BindMoe(nb::module_& module) {
  using M = MoeExperts;
  nb::class_<M>(module, "MoeExperts", "A layer's experts, packed.")
      .def_static("pack", Pack, nb::arg("gate_up"), nb::arg("down"),
                  nb::arg("gate_up_bias").none() = nb::none(),
                  nb::arg("down_bias").none() = nb::none(), nb::arg("is_transposed") = false,
                  nb::arg("is_concatenated") = true, nb::arg("clamped_swiglu").none() = nb::none(),
                  nb::arg("num_nsp").none() = nb::none(), nb::arg("packed_chunk_size") = "auto",
                  nb::arg("num_cores") = 0, nb::arg("dtype") = "float32")
      .def("run", Run, nb::arg("hidden"), nb::arg("topk_ids"), nb::arg("topk_weights"),
           nb::arg("out"))
      .def_prop_ro("num_experts", &M::num_experts)
      .def_prop_ro("hidden_size", &M::hidden_size)
      .def_prop_ro("intermediate_size", &M::intermediate_size)
      .def_prop_ro("num_bytes", &M::num_bytes)
      .def_prop_ro("packing_seconds", &M::packing_seconds)
      .def_prop_ro("isa", &M::isa);
}

}  // namespace expertile::python
