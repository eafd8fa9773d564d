// Model and Program.
#include "expertile/model.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "expertile/export.h"
#include "expertile/program_description.h"
#include "python/bindings/handles.h"

namespace expertile::python {
namespace {

using Path = std::filesystem::path;
using Progress = std::optional<nb::callable>;

// What work(on_progress, is_cancelled) returns, without the GIL. Ctrl-C and what `progress` raises
// stop it.
template <typename Work>
auto RunWithProgress(const Progress& progress, Work work) {
  ProgressCallback callback(progress);
  const OnProgress on_progress = callback.Get();
  auto result = RunAlone([&](const IsCancelled& is_interrupted) {
    return work(on_progress, [&] { return callback.has_raised() || is_interrupted(); });
  });
  callback.Rethrow();
  return Unwrap(std::move(result));
}

ProgramHandle Compile(const Model& model, const Progress& progress, const nb::kwargs& given) {
  const CompileOptions options = OptionsFrom(given);
  return ProgramHandle(RunWithProgress(
      progress, [&](const OnProgress& on_progress, const IsCancelled& is_cancelled) {
        return model.Compile(options, on_progress, is_cancelled);
      }));
}

CompiledProgram CompileToDisk(const Model& model, const Progress& progress,
                              const nb::kwargs& given) {
  const CompileOptions options = OptionsFrom(given);
  return RunWithProgress(progress,
                         [&](const OnProgress& on_progress, const IsCancelled& is_cancelled) {
                           return model.CompileToDisk(options, on_progress, is_cancelled);
                         });
}

std::vector<Path> Export(const Model& model, const Path& folder, const Progress& progress,
                         const nb::kwargs& given) {
  CompileOptions options = OptionsFrom(given);
  options.target = kGraphTarget;
  return RunWithProgress(progress,
                         [&](const OnProgress& on_progress, const IsCancelled& is_cancelled) {
                           return ExportOnnx(model, options, folder, on_progress, is_cancelled);
                         })
      .files;
}

// The image that encode(is_cancelled) makes with the program to itself.
template <typename Work>
EncodedImage Encode(const ProgramHandle& handle, Work encode) {
  return Unwrap(RunAlone([&](const IsCancelled& is_cancelled) {
    const std::lock_guard lock(*handle.lock);
    return encode(is_cancelled);
  }));
}

EncodedImage EncodeFile(const ProgramHandle& handle, const Path& file) {
  return Encode(handle, [&](const IsCancelled& is_cancelled) {
    return handle.program.EncodeImage(file, is_cancelled);
  });
}

EncodedImage EncodeBytes(const ProgramHandle& handle, const nb::bytes& bytes,
                         const std::string& name) {
  const std::span data(static_cast<const std::byte*>(bytes.data()), bytes.size());
  return Encode(handle, [&](const IsCancelled& is_cancelled) {
    return handle.program.EncodeImage(data, name, is_cancelled);
  });
}

EncodedImage EncodePixels(const ProgramHandle& handle, const Floats& pixel_values, int64_t grid_t,
                          int64_t grid_h, int64_t grid_w) {
  auto values = VectorOf(pixel_values);
  return Encode(handle, [&](const IsCancelled& is_cancelled) {
    return handle.program.EncodePixels(grid_t, grid_h, grid_w, std::move(values), is_cancelled);
  });
}

using ImageRows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Features = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

EncodedImage ImageOfRows(const ImageRows& embeddings, const Features& deepstack) {
  EncodedImage image;
  image.num_tokens = static_cast<int64_t>(embeddings.shape(0));
  image.embeddings.assign(embeddings.data(), embeddings.data() + embeddings.size());
  const size_t size = deepstack.shape(1) * deepstack.shape(2);
  for (size_t i = 0; i < deepstack.shape(0); ++i) {
    const float* feature = deepstack.data() + i * size;
    image.deepstack.emplace_back(feature, feature + size);
  }
  return image;
}

nb::ndarray<nb::numpy, float> DeepstackOf(const EncodedImage& image) {
  const size_t rows = image.num_tokens;
  const size_t width = rows == 0 ? 0 : image.embeddings.size() / rows;
  std::vector<float> values;
  for (const auto& feature : image.deepstack) {
    values.insert(values.end(), feature.begin(), feature.end());
  }
  return ToArray(std::move(values), {image.deepstack.size(), rows, width});
}

std::optional<std::vector<std::vector<int>>> ExpertsOf(const std::optional<NspPlacement>& placed) {
  if (!placed) return std::nullopt;
  return placed->experts;
}

void BindDescriptions(nb::module_& module) {
  using M = ModelDescription;
  nb::class_<M>(module, "ModelDescription", "What a checkpoint is.")
      .def_ro("model_type", &M::model_type)
      .def_ro("num_layers", &M::num_layers)
      .def_ro("num_moe_layers", &M::num_moe_layers)
      .def_ro("vocab_size", &M::vocab_size)
      .def_ro("hidden_size", &M::hidden_size)
      .def_ro("num_heads", &M::num_heads)
      .def_ro("num_kv_heads", &M::num_kv_heads)
      .def_ro("head_dim", &M::head_dim)
      .def_ro("max_positions", &M::max_positions)
      .def_ro("num_experts", &M::num_experts)
      .def_ro("experts_per_token", &M::experts_per_token)
      .def_ro("moe_intermediate_size", &M::moe_intermediate_size)
      .def_ro("num_parameters", &M::num_parameters)
      .def_ro("num_active_parameters", &M::num_active_parameters)
      .def_ro("checkpoint_bytes", &M::checkpoint_bytes)
      .def_ro("checkpoint_dtype", &M::checkpoint_dtype)
      .def_ro("end_token_ids", &M::end_token_ids)
      .def_prop_ro("has_vision", [](const M& m) { return m.vision.has_value(); })
      .def_prop_ro("image_token_id",
                   [](const M& m) { return m.vision ? m.vision->image_token_id : -1; })
      .def(
          "num_image_tokens",
          [](const M& m, const PatchGrid& grid) {
            const int64_t side = m.vision ? m.vision->merge_size : 1;
            return grid[0] * (grid[1] / side) * (grid[2] / side);
          },
          nb::arg("grid"), "Of a picture of (t, h, w) patches.");
  nb::class_<CompiledProgram>(module, "CompiledProgram", "What compiling to disk made or found.")
      .def_ro("folder", &CompiledProgram::folder)
      .def_ro("was_found", &CompiledProgram::was_found)
      .def_ro("qaic", &CompiledProgram::qaic);
  using Qaic = QaicProgramFolder;
  nb::class_<Qaic>(module, "QaicProgram", "A program for a Cloud AI 100.")
      .def_ro("name", &Qaic::name)
      .def_ro("folder", &Qaic::folder)
      .def_ro("command", &Qaic::command)
      .def_prop_ro("is_compiled", [](const Qaic& q) { return q.state != Qaic::State::kToBeRun; });
}

void BindImages(nb::module_& module) {
  using Image = EncodedImage;
  nb::class_<Image>(module, "EncodedImage", "A picture as the decoder takes it.")
      .def_ro("grid_t", &Image::grid_t)
      .def_ro("grid_h", &Image::grid_h)
      .def_ro("grid_w", &Image::grid_w)
      .def_ro("num_tokens", &Image::num_tokens)
      .def_static(
          "of_rows", ImageOfRows, nb::arg("embeddings"), nb::arg("deepstack"),
          "Rows of a picture, [M,H] and [features, M, H]: for tokens whose positions are given.")
      .def_prop_ro(
          "pixel_values",
          [](const Image& image) {
            const size_t rows = image.grid_t * image.grid_h * image.grid_w;
            return nb::ndarray<nb::numpy, const float>(image.pixel_values.data(),
                                                       {rows, image.pixel_values.size() / rows});
          },
          nb::rv_policy::reference_internal, "[patches, values of a patch]")
      .def_prop_ro(
          "embeddings",
          [](const Image& image) {
            const size_t rows = image.num_tokens;
            return nb::ndarray<nb::numpy, const float>(image.embeddings.data(),
                                                       {rows, image.embeddings.size() / rows});
          },
          nb::rv_policy::reference_internal, "[num_tokens, H]")
      .def_prop_ro("deepstack", DeepstackOf, nb::rv_policy::move,
                   "[features, num_tokens, H], a copy");
}

void BindProgram(nb::module_& module) {
  nb::class_<ProgramHandle>(module, "Program", "A checkpoint compiled for one target.")
      .def_static(
          "open",
          [](const Path& folder) {
            return ProgramHandle(Unwrap([&] {
              const nb::gil_scoped_release no_gil;
              return Program::Open(folder);
            }()));
          },
          nb::arg("folder"))
      .def_static("is_program", &Program::IsProgram, nb::arg("folder"))
      .def_static(
          "verify", [](const Path& folder) { Unwrap(VerifyProgram(folder)); }, nb::arg("folder"),
          nb::call_guard<nb::gil_scoped_release>())
      .def("new_session",
           [](const ProgramHandle& handle) {
             auto session =
                 Unwrap(RunUnlocked(*handle.lock, [&] { return handle.program.NewSession(); }));
             return SessionHandle(std::move(session), handle.lock);
           })
      .def("encode_image", EncodeFile, nb::arg("file"))
      .def("encode_image", EncodeBytes, nb::arg("data"), nb::arg("name") = "image")
      .def("encode_pixels", EncodePixels, nb::arg("pixel_values"), nb::arg("grid_t"),
           nb::arg("grid_h"), nb::arg("grid_w"))
      .def(
          "place_images",
          [](const ProgramHandle& handle, const Ids& ids, const std::vector<EncodedImage>& images) {
            return Unwrap(handle.program.PlaceImages(SpanOf(ids), images));
          })
      .def(
          "grid_of",
          [](const ProgramHandle& handle, int64_t height, int64_t width) {
            return Unwrap(handle.program.GridOf(height, width));
          },
          nb::arg("height"), nb::arg("width"),
          "(t, h, w), the patches of a picture of that many pixels.")
      .def_prop_ro("image_token_id",
                   [](const ProgramHandle& h) { return h.program.image_token_id(); })
      .def_prop_ro("model_folder", [](const ProgramHandle& h) { return h.program.model_folder(); })
      .def_prop_ro("end_token_ids",
                   [](const ProgramHandle& h) { return h.program.end_token_ids(); })
      .def_prop_ro("vocab_size", [](const ProgramHandle& h) { return h.program.vocab_size(); })
      .def_prop_ro("isa", [](const ProgramHandle& h) { return h.program.isa(); })
      .def_prop_ro("options",
                   [](const ProgramHandle& h) { return OptionsToDict(h.program.options()); })
      .def_prop_ro("placement",
                   [](const ProgramHandle& h) { return ExpertsOf(h.program.placement()); })
      .def_prop_ro(
          "description",
          [](const ProgramHandle& h) -> const ModelDescription& { return h.program.description(); },
          nb::rv_policy::reference_internal);
}

}  // namespace

void BindModel(nb::module_& module) {
  BindDescriptions(module);
  BindImages(module);
  nb::class_<Model>(module, "Model", "A checkpoint's folder, opened.")
      .def_static(
          "load",
          [](const Path& folder) {
            return Unwrap([&] {
              const nb::gil_scoped_release no_gil;
              return Model::Load(folder);
            }());
          },
          nb::arg("folder"))
      .def_prop_ro("description", &Model::description, nb::rv_policy::reference_internal)
      .def_prop_ro("folder", &Model::folder)
      .def("compile", Compile, nb::arg("progress").none() = nb::none(), nb::arg("options"),
           "Prepares the weights in memory; options are those of the option table.")
      .def("compile_to_disk", CompileToDisk, nb::arg("progress").none() = nb::none(),
           nb::arg("options"), "The same as a folder, in compile_dir or the compile cache.")
      .def("export_onnx", Export, nb::arg("folder"), nb::arg("progress").none() = nb::none(),
           nb::arg("options"), "Writes ONNX graphs; returns their files in the order of running.")
      .def("placement_on", [](const Model& model,
                              int num_nsp) { return Unwrap(model.PlacementOn(num_nsp)).experts; })
      .def(
          "rope_positions",
          [](const Model& model, const Ids& ids, const std::vector<PatchGrid>& grids) {
            auto positions = Unwrap(model.RopePositions(SpanOf(ids), grids));
            return ToArray(std::move(positions), {size_t{3}, ids.size()});
          },
          nb::arg("ids"), nb::arg("grids"),
          "[3, tokens] of a prompt with pictures of these patches: time, height, width.");
  BindProgram(module);
}

}  // namespace expertile::python
