#include "targets/cpu/cpu_program.h"

#include <utility>

#include "base/error.h"
#include "targets/cpu/cpu_ops.h"
#include "targets/cpu/weight_packing.h"
#include "targets/decoder_program.h"

namespace expertile::cpu {

Status PackCpu(const Checkpoint& checkpoint, const TargetOptions& options, WeightWriter& writer) {
  EXPERTILE_ASSIGN(const Isa isa, IsaNamed(options.isa));
  WorkerPool pool(options.num_workers);
  WeightPacker packer(KernelsFor(isa), options, pool, writer);
  return PackCheckpoint(checkpoint, options, writer, packer);
}

Result<std::unique_ptr<TargetProgram>> OpenCpu(const TargetModel& model,
                                               const TargetOptions& options,
                                               std::shared_ptr<const WeightReader> weights) {
  EXPERTILE_ASSIGN(const Isa isa, IsaNamed(options.isa));
  const KernelTable& table = KernelsFor(isa);
  WeightOpener opener(table, *weights);
  EXPERTILE_ASSIGN(
      std::optional<Placement> placement,
      Placement::CreateIfBlocked(model.decoder.moe.num_experts, options.blocking.num_nsp));
  CpuOps::Context context{options, std::make_shared<WorkerPool>(options.num_workers), &table,
                          std::move(placement)};
  return OpenDecoderProgram<CpuOps>(model, options, std::move(weights), opener, std::move(context));
}

}  // namespace expertile::cpu
