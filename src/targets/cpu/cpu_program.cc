#include "targets/cpu/cpu_program.h"

#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "targets/cpu/cpu_ops.h"
#include "targets/cpu/isa.h"
#include "targets/cpu/weight_packing.h"
#include "targets/decoder_program.h"
#include "targets/memory_store.h"

namespace expertile::cpu {
namespace {

Result<std::string> ChooseIsaName() {
  EXPERTILE_ASSIGN(const Isa isa, ChooseIsa());
  Log(LogLevel::kInfo, "cpu: kernels for {}", NameOf(isa));
  return std::string(NameOf(isa));
}

// A program computes with the instruction set that it was packed for, or not at all.
Status CheckForcedIsa(std::string_view packed_for) {
  const char* forced = std::getenv("EXPERTILE_ISA");
  if (forced == nullptr || *forced == '\0' || forced == packed_for) return {};
  return InvalidArgument("EXPERTILE_ISA={}: the program was compiled for {}", forced, packed_for);
}

}  // namespace

TargetRow CpuTarget() {
  return {.name = "cpu",
          .about = "this machine's processor: AVX2, AVX-512 or AMX",
          .arithmetics = {MatmulArithmetic::kFloat32, MatmulArithmetic::kBFloat16,
                          MatmulArithmetic::kMxint8},
          .honours = {OptionGroup::kBlockFormats},
          .in_process = {ChooseIsaName, PackCpu, OpenCpu, NewMemoryStore}};
}

Status PackCpu(const Checkpoint& checkpoint, const TargetOptions& options, WeightWriter& writer) {
  EXPERTILE_ASSIGN(const Isa isa, IsaNamed(options.isa));
  WorkerPool pool(options.num_workers);
  WeightPacker packer(KernelsFor(isa), options, pool, writer);
  return PackCheckpoint(checkpoint, options, writer, packer);
}

Result<std::unique_ptr<TargetProgram>> OpenCpu(const TargetModel& model,
                                               const TargetOptions& options,
                                               std::shared_ptr<const WeightReader> weights) {
  EXPERTILE_RETURN_IF_ERROR(CheckForcedIsa(options.isa));
  EXPERTILE_ASSIGN(const Isa isa, IsaNamed(options.isa));
  const KernelTable& table = KernelsFor(isa);
  WeightOpener opener(table, *weights);
  EXPERTILE_ASSIGN(
      std::optional<Placement> placement,
      Placement::CreateIfBlocked(model.decoder.moe.num_experts, options.blocking.num_nsp));
  CpuOps::Context context{options, std::make_shared<WorkerPool>(options.num_workers), &table,
                          std::move(placement)};
  return OpenDecoderProgram<TimedOps<CpuOps>>(model, options, std::move(weights), opener,
                                              std::move(context));
}

}  // namespace expertile::cpu
