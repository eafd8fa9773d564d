#include "targets/cpu/cpu_program.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "targets/cpu/cpu_ops.h"
#include "targets/decoder_program.h"

namespace expertile::cpu {
namespace {

std::vector<float> FloatsOf(const std::optional<MatrixView>& vector) {
  std::vector<float> values;
  if (vector) {
    values.resize(vector->cols);
    vector->ReadRow(0, values);
  }
  return values;
}

// Packs views into panels, experts on all workers at once; names are for targets that write files.
class Packer {
 public:
  Packer(const DecoderSpec& spec, const CpuOps::Context& context)
      : spec_(spec), context_(context) {}

  Result<std::vector<float>> PackVector(const std::string&, const MatrixView& view) const {
    return FloatsOf(view);
  }

  Result<MatrixView> PackEmbedding(const std::string&, const MatrixView& view) const {
    return view;  // rows are read from the mapped checkpoint
  }

  Result<PackedMatrix> PackLinear(const std::string&, const LinearView& view) const {
    return Pack(view, FormatOf(view.weight));
  }

  Result<PackedMatrix> PackVisionLinear(const std::string& name, const LinearView& view) const {
    return PackLinear(name, view);
  }

  Result<PackedMatrix> PackRouter(const std::string&, const LinearView& view) const {
    return Pack(view, LosslessFormatOf(view.weight));
  }

  Result<PackedExperts> PackExperts(const std::string&,
                                    const std::vector<ExpertView>& views) const {
    const ExpertView& first = views[0];
    const ExpertsShape shape{static_cast<int>(views.size()), first.gate.weight.cols,
                             first.gate.weight.rows,         FormatOf(first.gate.weight),
                             first.gate.bias.has_value(),    spec_.moe.mlp};
    EXPERTILE_ASSIGN(PackedExperts experts, PackedExperts::Create(*context_.table, shape));
    context_.pool->ForEach(shape.num_experts, [&](int64_t e, int) {
      PackExpert(static_cast<int>(e), views[e], experts);
    });
    return experts;
  }

 private:
  static void PackExpert(int e, const ExpertView& view, PackedExperts& experts) {
    if (view.gate.weight.is_mxfp4()) {
      const auto reader = [](const MatrixView& matrix) {
        return [&matrix](int64_t row, Mxfp4Row target) {
          matrix.CopyMxfp4Row(row, target.codes, target.scales);
        };
      };
      const auto gate = reader(view.gate.weight);
      const auto up = reader(view.up.weight);
      const auto down = reader(view.down.weight);
      experts.PackMxfp4(e, {gate, up, down});
    } else {
      const auto reader = [](const MatrixView& matrix) {
        return [&matrix](int64_t row, float* values) {
          matrix.ReadRow(row, {values, static_cast<size_t>(matrix.cols)});
        };
      };
      const auto gate = reader(view.gate.weight);
      const auto up = reader(view.up.weight);
      const auto down = reader(view.down.weight);
      experts.Pack(e, {gate, up, down});
    }
    experts.PackBias(e,
                     {FloatsOf(view.gate.bias), FloatsOf(view.up.bias), FloatsOf(view.down.bias)});
  }

  static WeightFormat LosslessFormatOf(const MatrixView& view) {
    if (view.is_mxfp4()) return WeightFormat::kMxfp4;
    return view.dtype == DType::kBF16 ? WeightFormat::kBFloat16 : WeightFormat::kFloat32;
  }
  WeightFormat FormatOf(const MatrixView& view) const {
    const bool rounds = context_.options.compute == DType::kBF16 && !view.is_mxfp4();
    return rounds ? WeightFormat::kBFloat16 : LosslessFormatOf(view);
  }
  Result<PackedMatrix> Pack(const LinearView& view, WeightFormat format) const {
    const std::vector<float> bias = FloatsOf(view.bias);
    const auto reader = [&](int64_t row, float* values) {
      view.weight.ReadRow(row, {values, static_cast<size_t>(view.weight.cols)});
    };
    return PackedMatrix::Create(*context_.table, format, view.weight.rows, view.weight.cols, reader,
                                bias);
  }

  const DecoderSpec& spec_;
  const CpuOps::Context& context_;
};

}  // namespace

Result<std::unique_ptr<TargetProgram>> OpenCpu(const Checkpoint& checkpoint,
                                               const TargetOptions& options) {
  EXPERTILE_ASSIGN(const Isa isa, ChooseIsa());
  CpuOps::Context context{options, std::make_shared<WorkerPool>(options.num_workers),
                          &KernelsFor(isa)};
  Packer packer(checkpoint.spec, context);
  EXPERTILE_ASSIGN(auto decoder, Prepare<CpuOps>(checkpoint.weights, packer, options.on_layer));
  EXPERTILE_ASSIGN(auto vision, (PrepareVisionOf<CpuOps>(checkpoint, options, packer)));
  return std::make_unique<DecoderProgram<CpuOps>>(checkpoint.spec, std::move(decoder),
                                                  std::move(vision), std::move(context));
}

}  // namespace expertile::cpu
