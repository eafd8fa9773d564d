#include "targets/open_target.h"

#include <utility>

#include "base/error.h"
#include "targets/cpu/cpu_program.h"
#include "targets/cpu/isa.h"
#include "targets/memory_store.h"
#include "targets/reference/reference_program.h"

namespace expertile {
namespace {

tl::unexpected<Error> NoSuchTarget(std::string_view target) {
  return InvalidArgument("target: {}, expected reference or cpu", OneLine(target));
}

}  // namespace

Result<std::string> ChooseIsa(std::string_view target) {
  if (target == "reference") return "portable";
  if (target != "cpu") return NoSuchTarget(target);
  EXPERTILE_ASSIGN(const cpu::Isa isa, cpu::ChooseIsa());
  return std::string(cpu::NameOf(isa));
}

Status PackWeights(std::string_view target, const Checkpoint& checkpoint,
                   const TargetOptions& options, WeightWriter& writer) {
  if (target == "reference") return reference::PackReference(checkpoint, options, writer);
  if (target == "cpu") return cpu::PackCpu(checkpoint, options, writer);
  return NoSuchTarget(target);
}

Result<std::unique_ptr<TargetProgram>> OpenTarget(std::string_view target, const TargetModel& model,
                                                  const TargetOptions& options,
                                                  std::shared_ptr<const WeightReader> weights) {
  if (target == "reference") {
    return reference::OpenReference(model, options, std::move(weights));
  }
  if (target == "cpu") return cpu::OpenCpu(model, options, std::move(weights));
  return NoSuchTarget(target);
}

TargetModel ModelOf(const ModelConfig& config) {
  TargetModel model{config.spec, std::nullopt};
  if (config.vision) model.vision = config.vision->spec;
  return model;
}

Result<std::unique_ptr<TargetProgram>> PackAndOpen(std::string_view target,
                                                   const Checkpoint& checkpoint,
                                                   TargetOptions options) {
  EXPERTILE_ASSIGN(options.isa, ChooseIsa(target));
  auto store = std::make_shared<MemoryStore>();
  EXPERTILE_RETURN_IF_ERROR(PackWeights(target, checkpoint, options, *store));
  return OpenTarget(target, ModelOf(checkpoint.config), options, std::move(store));
}

}  // namespace expertile
