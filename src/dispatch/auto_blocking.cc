#include "dispatch/auto_blocking.h"

#include <algorithm>

namespace expertile {

// NSPs steal from each other, so their number hardly matters: on 16 workers 2 to 128 were within
// 6 % of the best, one for each worker within 3 %, and one for all up to 10 % slower, as all take
// pieces from one counter. Chunks: each reads its expert's weights again, and a longer one leaves
// the second-level cache; 256 rows were the best of 64 to 1024 or within 3 % of it
// (docs/performance.md).
AutoBlocking ChooseBlocking(int num_experts, int num_workers) {
  return {std::min(num_workers, num_experts), 256};
}

}  // namespace expertile
