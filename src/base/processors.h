// The processors this process may use, and threads bound to one of them each.
// Not memory: pages lie where they are first written (base/page_memory.h).
#pragma once

namespace expertile {

// How many processors this process may run on: at least 1; fewer than the machine's under taskset
// or in a container that is given some.
int NumAllowedProcessors();

// How many of them it can keep busy: fewer in a container with a quota of processor time
// (base/processor_quota.h), of which whole processors count. At least 1.
int NumUsableProcessors();

// Binds the calling thread to the processor of worker `worker` of `num_workers`, which are spread
// over the allowed processors so that neighbours share caches, and no two share a core as long as
// there are cores. Does nothing where the system does not allow it.
void BindToProcessor(int worker, int num_workers);

}  // namespace expertile
