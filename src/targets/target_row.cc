#include "targets/target_row.h"

#include <algorithm>
#include <utility>

namespace expertile {

bool Honours(const TargetRow& target, OptionGroup group) {
  return group == OptionGroup::kGeneral || std::ranges::count(target.honours, group) > 0;
}

TargetModel ModelOf(const ModelConfig& config) {
  TargetModel model{config.spec, std::nullopt};
  if (config.vision) model.vision = config.vision->spec;
  return model;
}

Result<std::unique_ptr<TargetProgram>> PackAndOpen(const TargetRow& target,
                                                   const Checkpoint& checkpoint,
                                                   TargetOptions options) {
  const InProcessTarget& run = target.in_process;
  EXPERTILE_ASSIGN(options.isa, run.choose_isa());
  auto store = run.new_store();
  EXPERTILE_RETURN_IF_ERROR(run.pack(checkpoint, options, *store));
  return run.open(ModelOf(checkpoint.config), options, std::move(store));
}

}  // namespace expertile
