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
      const auto reader = [](const MatrixView& view) {
        return [&view](int64_t row, float* values) {
          view.ReadRow(row, {values, static_cast<size_t>(view.cols)});
        };
      };
      const ExpertView& view = views[e];
      const auto gate = reader(view.gate.weight);
      const auto up = reader(view.up.weight);
      const auto down = reader(view.down.weight);
      const std::vector<float> gate_bias = FloatsOf(view.gate.bias);
      const std::vector<float> up_bias = FloatsOf(view.up.bias);
      const std::vector<float> down_bias = FloatsOf(view.down.bias);
      experts.Pack(static_cast<int>(e), {gate, up, down, gate_bias, up_bias, down_bias});
    });
    return experts;
  }

 private:
  static WeightFormat LosslessFormatOf(const MatrixView& view) {
    return view.dtype == DType::kBF16 ? WeightFormat::kBFloat16 : WeightFormat::kFloat32;
  }
  WeightFormat FormatOf(const MatrixView& view) const {
    if (context_.options.compute == DType::kBF16) return WeightFormat::kBFloat16;
    return LosslessFormatOf(view);
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
  EXPERTILE_ASSIGN(auto decoder, Prepare<CpuOps>(checkpoint.weights, packer));
  return std::make_unique<DecoderProgram<CpuOps>>(checkpoint.spec, std::move(decoder),
                                                  std::move(context));
}

}  // namespace expertile::cpu
