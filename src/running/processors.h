// How many processors this process may use.
// Not their topology.
#pragma once

namespace expertile {

// At least 1; fewer than the machine's in a container or under taskset.
int NumUsableProcessors();

}  // namespace expertile
