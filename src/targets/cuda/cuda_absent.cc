// The CUDA target of a build for which no nvcc was found.
#include "base/error.h"
#include "targets/cuda/cuda_program.h"
#include "targets/memory_store.h"

namespace expertile::cuda {
namespace {

Result<std::string> ChooseIsa() {
  return Unsupported("cuda: this build is without the target, no nvcc was found for it");
}

Status Pack(const Checkpoint&, const TargetOptions&, WeightWriter&) {
  EXPERTILE_RETURN_IF_ERROR(ChooseIsa());
  return {};
}

Result<std::unique_ptr<TargetProgram>> Open(
    const TargetModel&, const TargetOptions&,
    std::shared_ptr<const WeightReader>) {  // NOLINT: InProcessTarget::open
  return tl::unexpected<Error>(ChooseIsa().error());
}

Result<Roof> MeasureRoof() { return tl::unexpected<Error>(ChooseIsa().error()); }

Result<MoeRuns> BenchMoe(const MoeBenchOptions&, std::span<const int32_t>,
                         std::span<const MoeBlocking>) {
  return tl::unexpected<Error>(ChooseIsa().error());
}

std::shared_ptr<const WeightReader> NoWeights(bool) { return NewMemoryStore(); }

}  // namespace

TargetRow CudaTarget() {
  return {.name = "cuda",
          .about = "a Hopper GPU (H100, H200), text only; in builds with nvcc",
          .arithmetics = {MatmulArithmetic::kBFloat16},
          .default_cores = 1,
          .in_process = {ChooseIsa, Pack, Open, NewMemoryStore},
          .bench = {MeasureRoof, BenchMoe, NoWeights}};
}

}  // namespace expertile::cuda
