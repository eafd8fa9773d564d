#include "targets/reference/reference_program.h"

#include <optional>
#include <string>
#include <utility>

#include "targets/decoder_program.h"
#include "targets/reference/reference_ops.h"

namespace expertile::reference {
namespace {

// Expands views to float32; the names are for targets that write files.
class Expander {
 public:
  Result<Vector> PackVector(const std::string&, const MatrixView& view) const {
    Vector values(view.cols);
    view.ReadRow(0, values);
    return values;
  }

  Result<Linear> PackLinear(const std::string&, const LinearView& view) const {
    Linear linear{Tensor::Zeros(view.weight.rows, view.weight.cols), {}};
    for (int64_t row = 0; row < linear.weight.rows; ++row) {
      view.weight.ReadRow(row, linear.weight.Row(row));
    }
    if (view.bias) {
      EXPERTILE_ASSIGN(linear.bias, PackVector("", *view.bias));
    }
    return linear;
  }

  Result<Linear> PackRouter(const std::string& name, const LinearView& view) const {
    return PackLinear(name, view);
  }

  Result<Linear> PackVisionLinear(const std::string& name, const LinearView& view) const {
    return PackLinear(name, view);
  }

  // The table stays where it is, in the mapped checkpoint.
  Result<MatrixView> PackEmbedding(const std::string&, const MatrixView& view) const {
    return view;
  }

  Result<Experts> PackExperts(const std::string& name, const std::vector<ExpertView>& views) const {
    Experts experts;
    for (const ExpertView& view : views) {
      EXPERTILE_ASSIGN(Linear gate, PackLinear(name, view.gate));
      EXPERTILE_ASSIGN(Linear up, PackLinear(name, view.up));
      EXPERTILE_ASSIGN(Linear down, PackLinear(name, view.down));
      experts.push_back({std::move(gate), std::move(up), std::move(down)});
    }
    return experts;
  }
};

}  // namespace

Result<std::unique_ptr<TargetProgram>> OpenReference(const Checkpoint& checkpoint,
                                                     const TargetOptions& options) {
  if (options.compute != DType::kF32) {
    return InvalidArgument("dtype: bfloat16, the target reference computes in float32 only");
  }
  Expander expander;
  EXPERTILE_ASSIGN(auto decoder,
                   Prepare<ReferenceOps>(checkpoint.weights, expander, options.on_layer));
  EXPERTILE_ASSIGN(auto vision, (PrepareVisionOf<ReferenceOps>(checkpoint, options, expander)));
  std::optional<Placement> placement;
  if (options.blocking.num_nsp > 0) {
    EXPERTILE_ASSIGN(placement,
                     Placement::Create(checkpoint.spec.moe.num_experts, options.blocking.num_nsp));
  }
  ReferenceOps::Context context{options, std::make_shared<WorkerPool>(options.num_workers),
                                std::move(placement)};
  return std::make_unique<DecoderProgram<ReferenceOps>>(checkpoint.spec, std::move(decoder),
                                                        std::move(vision), std::move(context));
}

}  // namespace expertile::reference
