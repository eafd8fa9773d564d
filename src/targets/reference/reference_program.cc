#include "targets/reference/reference_program.h"

#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "formats/mxfp6.h"
#include "targets/block_writing.h"
#include "targets/decoder_program.h"
#include "targets/memory_store.h"
#include "targets/reference/reference_ops.h"

namespace expertile::reference {
namespace {

// Writes views as float32 values; with mxfp6_matmul those that MXFP6 has.
class Expander {
 public:
  using Nothing = WrittenWeights::Nothing;
  Expander(WeightWriter& writer, bool mxfp6_matmul)
      : writer_(writer), mxfp6_matmul_(mxfp6_matmul) {}

  Status BeginGroup(const std::string& group) { return writer_.BeginGroup(group); }

  Result<Nothing> PackVector(const std::string& name, const MatrixView& view) {
    EXPERTILE_RETURN_IF_ERROR(WriteFloats(writer_, name, FloatsOf(view)));
    return Nothing();
  }

  Result<Nothing> PackEmbedding(const std::string& name, const MatrixView& view) {
    EXPERTILE_RETURN_IF_ERROR(WriteTable(writer_, name, view));
    return Nothing();
  }

  // A matrix of attention or of an expert.
  Result<Nothing> PackLinear(const std::string& name, const LinearView& view) {
    return Write(name, view, mxfp6_matmul_ && !view.weight.is_mxfp4());
  }
  Result<Nothing> PackRouter(const std::string& name, const LinearView& view) {
    return Write(name, view, /*rounds_to_mxfp6=*/false);
  }
  Result<Nothing> PackHead(const std::string& name, const LinearView& view) {
    return Write(name, view, /*rounds_to_mxfp6=*/false);
  }
  Result<Nothing> PackVisionLinear(const std::string& name, const LinearView& view) {
    return Write(name, view, /*rounds_to_mxfp6=*/false);
  }

  Result<Nothing> PackExperts(const std::string& name, const std::vector<ExpertView>& views) {
    for (size_t e = 0; e < views.size(); ++e) {
      const std::string expert = name + "." + std::to_string(e);
      EXPERTILE_RETURN_IF_ERROR(PackLinear(expert + ".gate", views[e].gate));
      EXPERTILE_RETURN_IF_ERROR(PackLinear(expert + ".up", views[e].up));
      EXPERTILE_RETURN_IF_ERROR(PackLinear(expert + ".down", views[e].down));
    }
    return Nothing();
  }

 private:
  Result<Nothing> Write(const std::string& name, const LinearView& view, bool rounds_to_mxfp6) {
    const MatrixView& weight = view.weight;
    const int64_t row_bytes = weight.cols * static_cast<int64_t>(sizeof(float));
    EXPERTILE_RETURN_IF_ERROR(
        writer_.Begin({name, "float32", weight.rows * weight.cols, weight.rows * row_bytes}));
    std::vector<float> row(weight.cols);
    for (int64_t r = 0; r < weight.rows; ++r) {
      weight.ReadRow(r, row);
      if (rounds_to_mxfp6) RoundToMxfp6(row);
      EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(row_bytes));
      std::memcpy(piece.data(), row.data(), piece.size());
    }
    if (view.bias) return PackVector(name + ".bias", *view.bias);
    return Nothing();
  }

  WeightWriter& writer_;
  bool mxfp6_matmul_;
};

// Copies float32 values out of a store. Views have shapes alone.
class Collector {
 public:
  explicit Collector(const WeightReader& reader) : reader_(reader) {}

  Status BeginGroup(const std::string&) { return {}; }

  Result<Vector> PackVector(const std::string& name, const MatrixView& shape) const {
    EXPERTILE_ASSIGN(const std::span<const float> values,
                     ReadFloats(reader_, name, shape.rows * shape.cols));
    return Vector(values.begin(), values.end());
  }

  Result<MatrixView> PackEmbedding(const std::string& name, const MatrixView& shape) const {
    return ReadTable(reader_, name, shape.rows, shape.cols);
  }

  Result<Linear> PackLinear(const std::string& name, const LinearView& shape) const {
    Linear linear{{shape.weight.rows, shape.weight.cols, {}}, {}};
    EXPERTILE_ASSIGN(linear.weight.values, PackVector(name, shape.weight));
    if (reader_.Has(name + ".bias")) {
      EXPERTILE_ASSIGN(linear.bias,
                       PackVector(name + ".bias", {.rows = 1, .cols = shape.weight.rows}));
    }
    return linear;
  }
  Result<Linear> PackRouter(const std::string& name, const LinearView& shape) const {
    return PackLinear(name, shape);
  }
  Result<Linear> PackHead(const std::string& name, const LinearView& shape) const {
    return PackLinear(name, shape);
  }
  Result<Linear> PackVisionLinear(const std::string& name, const LinearView& shape) const {
    return PackLinear(name, shape);
  }

  Result<Experts> PackExperts(const std::string& name,
                              const std::vector<ExpertView>& shapes) const {
    Experts experts;
    for (size_t e = 0; e < shapes.size(); ++e) {
      const std::string expert = name + "." + std::to_string(e);
      EXPERTILE_ASSIGN(Linear gate, PackLinear(expert + ".gate", shapes[e].gate));
      EXPERTILE_ASSIGN(Linear up, PackLinear(expert + ".up", shapes[e].up));
      EXPERTILE_ASSIGN(Linear down, PackLinear(expert + ".down", shapes[e].down));
      experts.push_back({std::move(gate), std::move(up), std::move(down)});
    }
    return experts;
  }

 private:
  const WeightReader& reader_;
};

// Its C++ is what any x86-64 runs.
Result<std::string> ChooseIsa() { return "portable"; }

}  // namespace

TargetRow ReferenceTarget() {
  return {.name = "reference",
          .about = "plain C++ in float32, the truth that the others are held to",
          .honours = {OptionGroup::kBlockFormats},
          .in_process = {ChooseIsa, PackReference, OpenReference, NewMemoryStore}};
}

Status PackReference(const Checkpoint& checkpoint, const TargetOptions& options,
                     WeightWriter& writer) {
  Expander expander(writer, options.mxfp6_matmul);
  return WriteWeights(checkpoint, options, expander);
}

Result<std::unique_ptr<TargetProgram>> OpenReference(const TargetModel& model,
                                                     const TargetOptions& options,
                                                     std::shared_ptr<const WeightReader> weights) {
  std::optional<Placement> placement;
  if (options.blocking.num_nsp > 0) {
    EXPERTILE_ASSIGN(placement,
                     Placement::Create(model.decoder.moe.num_experts, options.blocking.num_nsp));
  }
  ReferenceOps::Context context{options, std::make_shared<WorkerPool>(options.num_workers),
                                std::move(placement)};
  Collector collector(*weights);
  return OpenDecoderProgram<ReferenceOps>(model, options, std::move(weights), collector,
                                          std::move(context));
}

}  // namespace expertile::reference
