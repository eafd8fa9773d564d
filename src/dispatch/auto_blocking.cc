#include "dispatch/auto_blocking.h"

#include <algorithm>

namespace expertile {

AutoBlocking ChooseBlocking(const MoeLayerShape& shape) {
  return {std::min(shape.num_workers, shape.num_experts), 256};
}

}  // namespace expertile
