#include "targets/open_target.h"

#include "base/error.h"
#include "targets/reference/reference_program.h"

namespace expertile {

Result<std::unique_ptr<TargetProgram>> OpenTarget(std::string_view target,
                                                  const Checkpoint& checkpoint,
                                                  const TargetOptions& options) {
  if (target == "reference") return reference::OpenReference(checkpoint, options);
  return InvalidArgument("target: {}, expected reference or cpu", target);
}

}  // namespace expertile
