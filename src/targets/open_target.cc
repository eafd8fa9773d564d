#include "targets/open_target.h"

#include "base/error.h"
#include "targets/cpu/cpu_program.h"
#include "targets/reference/reference_program.h"

namespace expertile {

Result<std::unique_ptr<TargetProgram>> OpenTarget(std::string_view target,
                                                  const Checkpoint& checkpoint,
                                                  const TargetOptions& options) {
  if (target == "reference") return reference::OpenReference(checkpoint, options);
  if (target == "cpu") return cpu::OpenCpu(checkpoint, options);
  return InvalidArgument("target: {}, expected reference or cpu", target);
}

}  // namespace expertile
